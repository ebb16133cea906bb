"""Subsets of a class on which the classifier is worse, and what they have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.copies import groups
from innersight.audit.finding import Effect, Finding, Proof
from innersight.audit.subgroups import LEAST, Condition, conditions, divided, suggestions
from innersight.audit.subject import Subject
from innersight.statistics import holm, wilson

FEWEST = 20  # images of a class
IMAGES = 8  # of a subset, at least
EACH = 2  # subsets that a class, and all images together, may suggest
# The p, after correction, of a subset that properties describe, and of a group that only the network sees.
LEVEL = {"property": 0.05, "group": 0.001}
DIFFERENCE = 0.15  # by which the whole interval of the recall must be lower
SHOWN = 16
LIMITS = (
    "Subsets of fewer than 8 images, those whose recall is only a little lower, and those that neither the "
    "properties of the images nor a layer in the middle of the network distinguish, are missed."
)


@dataclass(frozen=True)
class _Tested:
    """A subset, and how it does on the images that confirm. label : its class, -1 for all."""

    label: int
    condition: Condition
    recall: float
    interval: tuple[float, float]
    others: float
    p: float


@checks.register("Weak subsets", order=30, limits=LIMITS, labelled=True)
def slice(subject: Subject) -> Report:
    """Find subsets of classes with a lower recall, on one half of the images, and test them on the other.

    Subsets are described by properties of the images, or are groups of images that look alike to the middle of the
    network. Of images that look alike every second one suggests.

    Fisher's exact test of errors inside and outside of the subset, corrected for all that were tested (Holm 1979).
    """
    known = (subject.table.classes >= 0).numpy()
    wrong = ~_right(subject) & known
    classes, small = _classes(subject, known)
    if not classes:
        raise NotCheckedError(f"needs a class with {FEWEST} images or more")
    table = subject.table
    leaders = groups(table.hashes[:, 0], table.digests)
    suggests = divided(table.features, table.classes, leaders, subject.suggests, subject.rng(4))
    tested: list[_Tested] = []
    covered = np.zeros(len(known), dtype=bool)
    for label in classes:
        for one in _search(subject, label, known & (subject.table.classes == label).numpy(), wrong, suggests):
            tested.append(one)
            covered |= one.condition.holds
    tested += _search(subject, -1, known & ~covered, wrong, suggests)
    adjusted = holm([one.p for one in tested])
    found = [_finding(subject, one, p, known, wrong) for one, p in _distinct(tested, adjusted)]
    looked = f"{len(known):,} images of {len(classes)} classes; {len(tested)} subsets were tested"
    limits = f"Classes with fewer than {FEWEST} images were left out: {_some(small)}." if small else ""
    return Report(found, looked, limits)


def _distinct(tested: Sequence[_Tested], adjusted: Sequence[float]) -> Iterator[tuple[_Tested, float]]:
    """Yield the subsets that are confirmed, the surest first, and none that is mostly another one of its class."""
    seen: list[_Tested] = []
    for p, one in sorted(zip(adjusted, tested, strict=True), key=lambda pair: pair[0]):
        holds = one.condition.holds
        again = any(
            2 * (holds & other.condition.holds).sum() > holds.sum() for other in seen if other.label == one.label
        )
        if p < LEVEL[one.condition.kind] and one.others - one.interval[1] >= DIFFERENCE and not again:
            seen.append(one)
            yield one, p


def _right(subject: Subject) -> Bool[np.ndarray, " n"]:
    classes = subject.table.classes.clamp_min(0)
    if subject.model.head.link == "sigmoid":
        return (subject.table.logits[torch.arange(len(classes)), classes] > 0).numpy()
    return (subject.predicted == classes).numpy()


def _classes(subject: Subject, known: Bool[np.ndarray, " n"]) -> tuple[list[int], list[str]]:
    """Return the classes with enough images, and the names of the others that are there."""
    numbers, counts = np.unique(subject.table.classes.numpy()[known], return_counts=True)
    large = [int(number) for number, count in zip(numbers, counts, strict=True) if count >= FEWEST]
    return large, [subject.model.labels[int(number)] for number in numbers if int(number) not in large]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _search(
    subject: Subject, label: int, rows: Bool[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"],
    suggests: Bool[np.ndarray, " n"],
) -> list[_Tested]:  # fmt: skip
    from scipy import stats

    if not (wrong & rows & suggests).any():
        return []
    subject.progress(0, "looking for weak subsets")
    every = conditions(subject, rows, suggests)
    found = []
    for one in suggestions(every, wrong, rows & suggests, EACH):
        inside, outside = (rows & ~suggests & side for side in (one.condition.holds, ~one.condition.holds))
        if inside.sum() < LEAST or (rows & one.condition.holds).sum() < IMAGES or not outside.any():
            continue
        counts = [[int((wrong & side).sum()), int((~wrong & side).sum())] for side in (inside, outside)]
        p = float(stats.fisher_exact(counts, alternative="two-sided").pvalue)
        if label < 0:
            # A subset of several classes must not be a class that is hard by itself.
            p = max(p, _stratified(subject, wrong, inside, outside))
        recalls = [right / (bad + right) for bad, right in counts]
        interval = wilson(counts[0][1], sum(counts[0]))
        found.append(_Tested(label, one.condition, recalls[0], interval, recalls[1], p))
    return found


def _stratified(
    subject: Subject, wrong: Bool[np.ndarray, " n"], inside: Bool[np.ndarray, " n"], outside: Bool[np.ndarray, " n"]
) -> float:
    """Return the p of equal errors inside and outside within every class (Mantel and Haenszel 1959)."""
    from scipy import stats

    classes, excess, variance = subject.table.classes.numpy(), 0.0, 0.0
    for label in np.unique(classes[inside]).tolist():
        own = classes == label
        within, without = int((own & inside).sum()), int((own & outside).sum())
        both, bad = within + without, int((own & wrong & (inside | outside)).sum())
        if both < 2:
            continue
        excess += int((own & wrong & inside).sum()) - within * bad / both
        variance += within * without * bad * (both - bad) / (both**2 * (both - 1))
    return float(2 * stats.norm.sf(abs(excess) / variance**0.5)) if variance > 0 else 1.0


def _finding(
    subject: Subject, one: _Tested, p: float, known: Bool[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]
) -> Finding:
    labels = subject.model.labels
    inside = one.condition.holds & known
    rows = np.flatnonzero(inside & wrong).tolist() + np.flatnonzero(inside & ~wrong).tolist()
    name = labels[one.label] if one.label >= 0 else None
    what = "recall" if name else "accuracy"
    low, high = one.interval
    return Finding(
        "slice",
        name,
        f"{name or 'all classes'}: {one.condition.text}: {what} {one.recall:.2f} ({low:.2f} to {high:.2f}) against "
        f"{one.others:.2f} of the others",
        True,
        Effect(one.recall, one.interval, one.others, p, what),
        images=subject.named(rows),
        images_total=len(rows),
        next="Add images like these to the training data, or state that the network is not made for them",
        proof=_proof(subject, rows[:SHOWN]),
    )


def _proof(subject: Subject, rows: list[int]) -> Proof:
    labels = subject.model.labels
    scores = subject.table.logits[rows]
    seen = scores.argmax(1).tolist()
    own, right = [labels[int(subject.table.classes[i])] for i in rows], _right(subject)[rows]
    captions = [
        f"{name}, seen as {labels[k] if fine or labels[k] != name else 'not so'}"
        for name, k, fine in zip(own, seen, right, strict=True)
    ]
    return Proof(subject.shown(subject.pixels[rows]), (None,) * len(rows), tuple(captions))
