"""Images of a scan to be looked at for its mistakes, and what the wrong have in common that the right ones lack."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from innersight.statistics import holm, van_elteren

if TYPE_CHECKING:
    from innersight.scan import PredictedImage, ScanPredictions

WRONG, RIGHT, SURE, UNKNOWN = 160, 160, 60, 20  # images that are looked at, at most
READ = 5000  # mistakes among which they are chosen, the surest
LEAST = 8  # wrong and right images without which nothing is tested
CELLS = 12  # confusions that are tested
LEVEL = 0.05
LISTED = 6  # differences of each kind that are kept


@dataclass(frozen=True)
class Chosen:
    """Images to be looked at. controls : which of them were drawn at random among the right ones."""

    images: "tuple[PredictedImage, ...]"
    controls: frozenset[int]


def chosen(predictions: "ScanPredictions") -> Chosen:
    """Return the surest mistakes of every confusion in turn, right images of the same classes, and the surest right.

    And a few of no known class; where none is known, the surest and the least sure images of every predicted class.
    """
    if not predictions.labelled:
        some = [
            turns(predictions.select(order=order, limit=READ), lambda one: one.predicted, RIGHT)
            for order in ("confident", "doubtful")
        ]
        return Chosen(_distinct([*some[1], *some[0]]), frozenset())
    mistakes = predictions.select(correct=False, order="confident", limit=READ)
    wrong = turns(mistakes, lambda one: (one.class_, one.predicted), WRONG)
    wanted = Counter(one.class_ for one in wrong)
    right: dict[int, list[PredictedImage]] = defaultdict(list)
    for one in predictions:
        if one.correct:
            right[one.class_].append(one)
            if len(right[one.class_]) > 4 * (READ // 10):
                right[one.class_] = _fewer(right[one.class_])
    controls = turns(
        (one for class_ in sorted(right) for one in nsmallest(wanted[class_], right[class_], key=_drawn)),
        lambda one: one.class_,
        RIGHT,
    )
    sure = turns(
        (one for class_ in sorted(right) for one in sorted(right[class_], key=_surest)), lambda one: one.class_, SURE
    )
    unknown = turns(predictions.select(class_=-1, order="confident", limit=READ), lambda one: one.predicted, UNKNOWN)
    return Chosen(_distinct([*wrong, *controls, *sure, *unknown]), frozenset(one.number for one in controls))


def turns(
    images: "Iterable[PredictedImage]", group: "Callable[[PredictedImage], Hashable]", limit: int
) -> "list[PredictedImage]":
    """Return up to `limit` images: the first of every group, then the second, and so on; larger groups first."""
    groups: dict[Hashable, list[PredictedImage]] = defaultdict(list)
    for one in images:
        groups[group(one)].append(one)
    order = sorted(groups.values(), key=len, reverse=True)
    return [one for row in zip_longest(*order) for one in row if one is not None][:limit]


def _fewer(images: "list[PredictedImage]") -> "list[PredictedImage]":
    """Return the images that may still be chosen: the surest, and those that a draw would take."""
    return list(_distinct([*nsmallest(READ // 10, images, key=_surest), *nsmallest(READ // 10, images, key=_drawn)]))


def _surest(one: "PredictedImage") -> tuple[float, int]:
    return -(one.scores.scores[0] if one.confidence is None else one.confidence), one.number


def _drawn(one: "PredictedImage") -> int:
    return (one.number + 1) * 2654435761 % (1 << 32)


def _distinct(images: "Iterable[PredictedImage]") -> "tuple[PredictedImage, ...]":
    return tuple({one.number: one for one in images}.values())


@dataclass(frozen=True)
class Mistakes:
    """Mistakes that are compared with right images: all, those of a class, or those of one confusion."""

    class_: int | None = None
    predicted: int | None = None


def differences(
    columns: "Mapping[str, Float[np.ndarray, 'n columns']]",
    classes: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    usable: Bool[np.ndarray, " n"],
) -> list[dict[str, Any]]:
    """Return for each selection with enough images what sets its wrong ones apart from right ones of their classes.

    columns : by kind, what was measured of every image. classes, predicted : numbers of the classes. usable : which
    images take part: the wrong ones, and right ones drawn at random.

    Each row: class and predicted (None for any), wrong and right (how many images), tested (how many differences),
    and rows {kind, number, effect, p, wrong, right}: effect is the probability that a wrong image has more of it
    than a right one of its class, p is adjusted for everything that was tested here (Holm within a kind, times kinds
    and selections), wrong and right are means.
    """
    wrong = usable & (classes >= 0) & (classes != predicted)
    right = usable & (classes >= 0) & (classes == predicted)
    selections = list(_selections(classes, predicted, wrong, right))
    times = len(selections) * len(columns)
    return [_compared(one, columns, classes, own, others, times) for one, own, others in selections]


def _selections(
    classes: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    wrong: Bool[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
) -> Iterator[tuple[Mistakes, Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Yield each selection with enough images: which are wrong, and which right ones they are compared with."""
    cells = Counter(zip(classes[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    named = [Mistakes(), *(Mistakes(class_) for class_ in sorted({class_ for class_, _ in cells}))]
    named += [Mistakes(*cell) for cell, _ in sorted(cells.items(), key=lambda item: (-item[1], item[0]))[:CELLS]]
    for one in named:
        own = wrong if one.class_ is None else wrong & (classes == one.class_)
        own = own if one.predicted is None else own & (predicted == one.predicted)
        others = right & np.isin(classes, classes[own])
        # Wrong images of a class without a right one are compared with nothing.
        own = own & np.isin(classes, classes[others])
        if min(own.sum(), others.sum()) >= LEAST:
            yield one, own, others


def _compared(
    selection: Mistakes,
    columns: "Mapping[str, Float[np.ndarray, 'n columns']]",
    classes: Int[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    others: Bool[np.ndarray, " n"],
    times: int,
) -> dict[str, Any]:
    both = own | others
    rows: list[dict[str, Any]] = []
    for kind, values in columns.items():
        effects, p_values = van_elteren(values[both], own[both], classes[both])
        adjusted = [min(1.0, times * p) for p in holm(p_values.tolist())]
        found = sorted((i for i, p in enumerate(adjusted) if p < LEVEL), key=lambda i: (adjusted[i], i))
        rows += [
            {
                "kind": kind,
                "number": i,
                "effect": float(effects[i]),
                "p": adjusted[i],
                "wrong": float(values[own, i].mean()),
                "right": float(values[others, i].mean()),
            }
            for i in found[:LISTED]
        ]
    return {
        "class": selection.class_,
        "predicted": selection.predicted,
        "wrong": int(own.sum()),
        "right": int(others.sum()),
        "tested": sum(values.shape[1] for values in columns.values()),
        "rows": rows,
    }
