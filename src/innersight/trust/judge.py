"""Everything that is measured on each image: maps on networks alike and unlike, metrics, protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.heatmaps.engine import Answers
from innersight.heatmaps.masked import Asking, batch_of, pooled
from innersight.image import Image
from innersight.quotients import precise
from innersight.statistics import rank_correlations
from innersight.trust.case import Case
from innersight.trust.faithfulness import Curves, curves
from innersight.trust.metrics import SAME, metrics, number
from innersight.trust.metrics.randomized import LABELS, WEIGHTS
from innersight.trust.metrics.road import STEPS as COARSE
from innersight.trust.metrics.sensitivity import NEARBY
from innersight.trust.randomize import shuffled_weights
from innersight.trust.replacements import replacements
from innersight.trust.request import Asked

RADIUS = 0.02
PROTOCOLS = 8
"""So many images are measured in other ways too, to see whether the order of the maps depends on it."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What was measured on one image.

    numbers : (maps,) by column, NaN for a baseline that has none. chances : by column. protocols : (maps,) by the way
    of measuring, empty for most images. agreement : (methods, methods) rank correlations of their maps.
    """

    target: int
    curves: Curves
    empty: Tensor
    numbers: dict[str, Tensor]
    chances: dict[str, float]
    protocols: dict[str, Tensor]
    agreement: Tensor

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class _Question:
    """Masked passes to make on an image. name : a metric, "curves", or a protocol."""

    case: int
    name: str
    fill: str
    asking: Asking[Any]


def judge(
    asked: Asked, images: Sequence[Image], x: Float[Tensor, "B C H W"], given: Answers, norms: Tensor, before: int
) -> list[Judged]:
    """Return what is measured on each image of a batch.

    given : what the methods say of them. norms : inputs on which the network without what it learned measures its
    norms. before : images already judged: each has its own random stream.
    """
    cases = _cases(asked, images, x, given, norms, before)
    questions = [
        question for i, case in enumerate(cases) for question in _questions(asked, i, case, before + i < PROTOCOLS)
    ]
    told = _told(asked, cases, questions)
    judged = []
    for i, case in enumerate(cases):
        own = {q.name: one for q, one in zip(questions, told, strict=True) if q.case == i}
        case.curves = own.pop("curves")
        numbers = {name: number(own.pop(name) if metrics.entry(name).fill else metrics[name](case)) for name in metrics}
        known = {name: _padded(values, len(case.values)) for name, values in numbers.items() if values is not None}
        protocols = {name: one.scores[:, 0] for name, one in own.items()}
        if protocols:
            first = {f"{asked.baseline}, {asked.steps} steps": case.curves.scores[:, 0], "ROAD": known["road"]}
            protocols = first | {"the same of the logit": case.curves.scores[:, 1]} | protocols
        assert case.curves is not None
        judged.append(
            Judged(
                case.target,
                Curves(case.curves.deletion[..., 0], case.curves.insertion[..., 0]),
                case.empty,
                known,
                {one.name: one.chance(case) for one in metrics.entries() if one.chance},
                protocols,
                torch.from_numpy(rank_correlations(case.grid.numpy())),
            )
        )
    return judged


def _cases(asked: Asked, images: Sequence[Image], x: Tensor, given: Answers, norms: Tensor, before: int) -> list[Case]:
    model, classes = asked.model, given.target.classes
    assert classes is not None
    with shuffled_weights(model, norms.to(model.device, model.dtype), seed=asked.seed):
        others = {WEIGHTS: asked.answers(x, classes)}
    if asked.against is not None:
        others[LABELS] = asked.answers(x, classes, model=asked.against)
    stream = torch.Generator().manual_seed(asked.seed)
    radius = RADIUS / torch.tensor(model.input.std).view(1, -1, 1, 1)
    noise = radius * (2 * torch.rand(x[:1].shape, generator=stream) - 1)
    others[NEARBY] = asked.answers(x + noise, classes)
    return [
        Case(
            model,
            image,
            x[i],
            int(classes[i]),
            asked.maps(given, i),
            {name: asked.maps(found, i) for name, found in others.items()},
            asked.region(image, int(classes[i])),
            asked.steps,
            np.random.default_rng((asked.seed, before + i)),
            asked.seed,
        )
        for i, image in enumerate(images)
    ]


def _questions(asked: Asked, i: int, case: Case, otherwise: bool) -> list[_Question]:
    """Return the masked passes that one image needs. otherwise : whether it is measured by other protocols too."""
    orders = case.orders
    found = [_Question(i, "curves", asked.baseline, curves(orders, asked.steps))]
    for metric in metrics.entries():
        if metric.fill:
            fill = asked.baseline if metric.fill == SAME else metric.fill
            found.append(_Question(i, metric.name, fill, metric.function(case)))  # type: ignore[arg-type]
    if otherwise:
        fewer = COARSE if asked.steps != COARSE else 2 * COARSE
        ways = [(asked.baseline, fewer), *((name, asked.steps) for name in replacements if name != asked.baseline)]
        for fill, steps in ways:
            found.append(_Question(i, f"{fill}, {steps} steps", fill, curves(orders, steps)))
    return found


def _told(asked: Asked, cases: Sequence[Case], questions: Sequence[_Question]) -> list[Any]:
    """Return what the network says to all questions: the class's probability and logit with parts removed."""
    model = asked.model
    places = [(question.case, question.fill) for question in questions]
    streams = [torch.Generator().manual_seed(int(case.rng.integers(2**31))) for case in cases]
    filled = {(i, fill): replacements[fill](cases[i].x, streams[i]) for i, fill in dict.fromkeys(places)}
    targets = torch.tensor([cases[question.case].target for question in questions])
    folded = tap.fold_batchnorm()

    def run(inputs: Tensor, owners: Tensor) -> Tensor:
        with torch.no_grad(), folded:
            # What small logits change of a probability is less than float32 tells from it.
            logits = precise(model.logits(inputs.to(model.device, model.dtype)))
        both = torch.stack([model.probabilities(logits), logits], 2).cpu()
        return both[torch.arange(len(both)), targets[owners]]

    asking = [question.asking for question in questions]
    with tap.untouched(model):
        return pooled(asking, lambda place, kept: filled[places[place]](kept), run, batch_of(model))


def _padded(own: Float[Tensor, " methods"], count: int) -> Float[Tensor, " maps"]:
    """Return numbers of the methods, followed by NaN for the baselines that have none."""
    return torch.cat([own.float(), torch.full((count - len(own),), torch.nan)])
