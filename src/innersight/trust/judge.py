"""Everything that is measured on each image: metrics, other protocols, and how similar the methods' maps are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.heatmaps.engine import BatchResult
from innersight.heatmaps.masked import MaskedPasses, batch_of, in_turn, run_masked
from innersight.image import Image
from innersight.memory_format import memory_format
from innersight.quotients import precise
from innersight.registry import Entry
from innersight.statistics import rank_correlations
from innersight.trust.case import Case
from innersight.trust.conditions import conditions
from innersight.trust.faithfulness import Curves, curves
from innersight.trust.imputers import imputers
from innersight.trust.metrics import REGIONS, SAME, asked, metrics, number, primary
from innersight.trust.protocol import ORDERED, others
from innersight.trust.request import TrustRequest
from innersight.trust.work import PassCount, changed, removing


@dataclass(frozen=True, eq=False)
class Judged:
    """What was measured on one image.

    numbers : (maps,) by column, NaN for a baseline that has none. chances : by column. protocols : (maps,) by the way
    of measuring, empty for most images. agreement : (methods, methods) rank correlations of their maps. marked :
    whether a region of the class is known.
    """

    target: int
    curves: Curves
    empty: Tensor
    numbers: dict[str, Tensor]
    chances: dict[str, float]
    protocols: dict[str, Tensor]
    agreement: Tensor
    marked: bool

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class _Question:
    """Masked passes to make on an image. name : a metric, "curves", or a protocol."""

    case: int
    name: str
    imputer: str
    passes: MaskedPasses[Any]


def judge(
    request: TrustRequest,
    images: Sequence[Image],
    x: Float[Tensor, "B C H W"],
    found: BatchResult,
    norms: Tensor,
    before: int,
    work: PassCount,
) -> list[Judged]:
    """Return what is measured on each image of a batch.

    found : the maps of the methods. norms : inputs on which batch norms of the network with shuffled weights measure
    their statistics. before : images already judged: each has its own random stream. work : counts it.
    """
    with work.part(len(images) * changed(request), "maps under other conditions"):
        cases = _cases(request, images, x, found, norms, before)
    secondary = [request.protocol.is_secondary(before + i) for i in range(len(cases))]
    questions = [question for i, case in enumerate(cases) for question in _questions(request, i, case, secondary[i])]
    maps = len(cases[0].values)
    with work.part(sum(removing(request, maps, one) for one in secondary), "parts removed"):
        outputs = _outputs(
            request, cases, questions, lambda i, masks: work.add(masks, f"parts removed from image {before + i + 1}")
        )
    return [
        _judged(
            request, case, secondary[i], {q.name: one for q, one in zip(questions, outputs, strict=True) if q.case == i}
        )
        for i, case in enumerate(cases)
    ]


def _judged(request: TrustRequest, case: Case, secondary: bool, outputs: dict[str, Any]) -> Judged:
    """Return what was measured on one image. outputs : what the questions about it found, by name."""
    case.curves = own = outputs.pop("curves")
    entries = _measurable(case, secondary)
    numbers = {
        entry.name: _padded(
            number(outputs.pop(entry.name) if entry.imputer else entry.function(case)), len(case.values)
        )
        for entry in entries
    }
    protocols: dict[str, Tensor] = {}
    if secondary:
        protocols = {str(request.protocol): numbers[primary().name]}
        protocols |= {entry.title: numbers[entry.name] for entry in entries if entry.protocol}
        protocols |= {name: _score(case, one) for name, one in (("logit", _logits(own)), *outputs.items())}
        protocols = {name: _padded(values, len(case.values)) for name, values in protocols.items()}
    return Judged(
        case.target,
        Curves(own.deletion[..., 0], own.insertion[..., 0]),
        case.empty,
        numbers,
        {entry.name: entry.chance(case) for entry in entries if entry.chance},
        protocols,
        torch.from_numpy(rank_correlations(case.grid.numpy())),
        case.region is not None,
    )


def _measurable(case: Case, secondary: bool) -> list[Entry[Any]]:
    """Return the metrics that have all they need; see `metrics.asked`."""
    known = {*case.others, *([] if case.region is None else [REGIONS])}
    return [entry for entry in asked(secondary) if known.issuperset(entry.needs)]


def _score(case: Case, other: Curves) -> Tensor:
    """Return the primary metric by other curves, (maps,)."""
    return number(primary().function(replace(case, curves=other)))


def _logits(both: Curves) -> Curves:
    """Return the curves of the logit in place of those of the probability."""
    return Curves(both.deletion[..., 1:], both.insertion[..., 1:])


def _cases(
    request: TrustRequest, images: Sequence[Image], x: Tensor, found: BatchResult, norms: Tensor, before: int
) -> list[Case]:
    classes = found.target.classes
    assert classes is not None
    needed = {need for entry in metrics.entries() for need in entry.needs}
    made = {name: make(request, x, classes, norms) for name, make in conditions.items() if name in needed}
    return [
        Case(
            request.model,
            image,
            x[i],
            int(classes[i]),
            request.maps(found, i),
            {name: request.maps(other, i) for name, other in made.items() if other is not None},
            request.region(image, int(classes[i])),
            request.protocol.steps,
            np.random.default_rng((request.seed, before + i)),
            request.seed,
        )
        for i, image in enumerate(images)
    ]


def _questions(request: TrustRequest, i: int, case: Case, secondary: bool) -> list[_Question]:
    """Return the masked passes that one image needs. secondary : whether it is measured by other protocols too."""
    orders, protocol = case.orders, request.protocol
    found = [_Question(i, "curves", protocol.imputer, curves(orders, protocol.steps))]
    for entry in _measurable(case, secondary):
        if entry.imputer:
            imputer = protocol.imputer if entry.imputer == SAME else entry.imputer
            found.append(_Question(i, entry.name, imputer, entry.function(case)))
    if secondary:
        # Where the order of the methods alone is compared, those of the baselines would not be looked at.
        compared = orders[: len(case.own)] if len(case.own) >= ORDERED else orders
        found += [_Question(i, str(one), one.imputer, curves(compared, one.steps)) for one in others(protocol)]
    return found


def _outputs(
    request: TrustRequest, cases: Sequence[Case], questions: Sequence[_Question], counted: Callable[[int, int], None]
) -> list[Any]:
    """Return what all questions found by the class's probability and logit with parts removed.

    counted : takes the number of a case, and how many masks were answered.
    """
    model = request.model
    # Maps that are equal, and protocols whose steps are among those of another, ask for the same.
    alike: dict[tuple[int, str], list[int]] = {}
    for at, question in enumerate(questions):
        alike.setdefault((question.case, question.imputer), []).append(at)
    streams = [torch.Generator().manual_seed(int(case.rng.integers(2**31))) for case in cases]
    filled = [imputers[imputer](cases[i].x, streams[i]) for i, imputer in alike]
    targets = torch.tensor([cases[i].target for i, _ in alike])
    folded = tap.fold_batchnorm()

    def run(inputs: Tensor, owners: Tensor) -> Tensor:
        with torch.no_grad(), folded:
            # What small logits change of a probability is less than float32 tells from it.
            given = inputs.to(model.device, model.dtype, memory_format=memory_format(model))
            logits = precise(model.logits(given))
        both = torch.stack([model.probabilities(logits), logits], 2).cpu()
        return both[torch.arange(len(both)), targets[owners]]

    passes = [in_turn([questions[at].passes for at in those], partial(counted, i)) for (i, _), those in alike.items()]
    with tap.untouched(model):
        found = run_masked(passes, lambda owner, kept: filled[owner](kept), run, batch_of(model))
    outputs = dict(zip(chain.from_iterable(alike.values()), chain.from_iterable(found), strict=True))
    return [outputs[at] for at in range(len(questions))]


def _padded(own: Float[Tensor, " methods"], count: int) -> Float[Tensor, " maps"]:
    """Return numbers of the methods, followed by NaN for the baselines that have none."""
    return torch.cat([own.float(), torch.full((count - len(own),), torch.nan)])
