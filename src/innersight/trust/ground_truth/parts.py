"""Drawn characters: what the class loses when a part is removed, beside what a heatmap assigns to the part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heatmaps import Heatmap, explain
from innersight.image import as_image, stack
from innersight.masks import laid
from innersight.model import Model
from innersight.predict import run
from innersight.statistics import bootstrap, spearman
from innersight.toons import CLASSES, PARTS, Toon, draw
from innersight.trust.ground_truth import Sample, Scores, ground_truth
from innersight.trust.request import TrustRequest

AREA = "area"
COUNT = 24
UNSEEN = 10_000
"""Seeds of toons from this one on are in none of our training sets."""


def _drawable(model: Model) -> bool:
    """Return whether the network knows the toons."""
    return set(CLASSES) <= set(model.labels) and model.input.channels == 3


@ground_truth.register(
    "toon parts",
    against="part size on the toons",
    made=lambda request, images: COUNT if _drawable(request.model) else 0,
)
def parts(request: TrustRequest, sample: Sample) -> Scores | None:
    """Rank correlation of the map's sums over the parts of drawn toons with the effect of removing each part, -1 to 1.

    None where the network does not know the toons. A uniform map ranks parts by their size.
    """
    del sample
    model = request.model
    if not _drawable(model):
        return None
    drawn = [draw(CLASSES[i % len(CLASSES)], UNSEEN + request.seed + i) for i in range(COUNT)]
    x = stack([as_image(np.array(toon.pixels)) for toon in drawn], model.input)
    effects = [part_effects(model, toon) for toon in drawn]
    rows = [
        [part_rank(effects[i], part_sums(model, value.nan_to_num(0, 0, 0), drawn[i])) for value in values]
        for i, values, _ in request.explain_made(x, torch.tensor([model.class_index(toon.name) for toon in drawn]))
    ]
    sizes = [part_rank(own, part_sums(model, torch.ones(1, 1), toon)) for own, toon in zip(effects, drawn, strict=True)]
    return Scores(torch.tensor(rows), torch.tensor(sizes))


@dataclass(frozen=True)
class PartAgreement:
    """How well a method ranks the parts of toons by their true effects.

    Attributes
    ----------
    name
        Of the heatmap method.
    mean
        Of `values`.
    interval
        95% bootstrap interval of the mean; None for a single toon.
    values
        Spearman's rank correlation for each toon, -1 to 1.

    """

    name: str
    mean: float
    interval: tuple[float, float] | None
    values: tuple[float, ...]


def part_effects(model: Model, toon: Toon, target: int | str | None = None) -> dict[str, float]:
    """Return how far the logit of a class falls when a toon is drawn without each of its parts.

    Parameters
    ----------
    model
        A network that knows the class.
    toon
        A drawn character, see `innersight.toons.draw`.
    target
        A class; by default the character's own name.

    Returns
    -------
    dict[str, float]
        By part, in logits; negative where the logit rises.

    Raises
    ------
    InnersightError
        When the model has no such class.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> from innersight.trust import part_effects
    >>> effects = part_effects(ins.load("toon"), draw("ambra", 7))
    >>> effects["hair"] > effects["mouth"]
    True

    """
    number = model.class_index(toon.name if target is None else target)
    drawn = [toon, *(toon.without(part) for part in PARTS)]
    logits = run(model, stack([as_image(np.array(each.pixels)) for each in drawn], model.input))[:, number]
    return dict(zip(PARTS, (logits[0] - logits[1:]).tolist(), strict=True))


def part_sums(model: Model, heatmap: "Heatmap | Float[Tensor, 'h w']", toon: Toon) -> dict[str, float]:
    """Return the sum of a heatmap over each part of the toon that it explains.

    Parameters
    ----------
    model
        The network.
    heatmap
        A `Heatmap`, or values (h, w).
    toon
        What it explains.

    Returns
    -------
    dict[str, float]
        By part, in the map's unit. The map is interpolated bilinearly to the network's input, so that the sums of all
        parts add up to that of the map, except for the interpolation at its rim.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> from innersight.trust import part_sums
    >>> sums = part_sums(ins.load("toon"), torch.ones(12, 12), draw("ambra", 7))
    >>> round(sum(sums.values()))
    144

    """
    values = heatmap.values if isinstance(heatmap, Heatmap) else heatmap
    spec = model.input
    wide = F.interpolate(values[None, None].double(), size=(spec.height, spec.width), mode="bilinear")[0, 0]
    wide = wide * (values.numel() / wide.numel())
    seen = as_image(np.array(toon.pixels)).box(spec)
    parts = torch.from_numpy(laid(toon.parts, seen, (spec.height, spec.width)))
    return {part: float(wide[parts == i].sum()) for i, part in enumerate(PARTS)}


def part_rank(effects: Mapping[str, float], sums: Mapping[str, float]) -> float:
    """Return how well sums over the parts rank as the parts' true effects do, -1 to 1; 0 where either has no rank."""
    rho = spearman(list(effects.values()), list(sums.values()))
    return 0.0 if np.isnan(rho) else rho


def part_agreement(
    model: Model, toons: Sequence[Toon], methods: Sequence[str] = ("gradcam", "saliency")
) -> dict[str, PartAgreement]:
    """Return how well each method's `part_sums` rank the parts of toons like their `part_effects`.

    Parameters
    ----------
    model
        A network that knows the toons.
    toons
        Whole characters, see `innersight.toons.draw`.
    methods
        Names of heatmap methods.

    Returns
    -------
    dict[str, PartAgreement]
        By method; `area` is always included: a uniform map, whose sums are the sizes of the parts. Large parts tend to
        matter more, so a method shows something only above it. A toon without a rank on one side, such as an empty map,
        counts as 0.

    Raises
    ------
    InnersightError
        Without toons, or for one with a part removed.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> from innersight.trust import part_agreement
    >>> found = part_agreement(ins.load("toon"), [draw("ambra", 7)], ["gradcam"])
    >>> list(found), -1 <= found["gradcam"].mean <= 1
    (['gradcam', 'area'], True)

    """
    if not toons:
        raise InnersightError("part_agreement needs toons: draw some with innersight.toons.draw")
    values: dict[str, list[float]] = {name: [] for name in (*methods, AREA)}
    for toon in toons:
        if toon.removed is not None:
            raise InnersightError(f"{toon.name} {toon.seed} is drawn without {toon.removed}; give whole toons")
        effects = part_effects(model, toon)
        heat = explain(model, as_image(np.array(toon.pixels), name=toon.name), toon.name, methods)
        maps = {entry.method: entry.values for entry in heat.entries} | {AREA: torch.ones(1, 1)}
        for name, map_ in maps.items():
            values[name].append(part_rank(effects, part_sums(model, map_, toon)))
    return {name: PartAgreement(name, float(np.mean(v)), bootstrap(v), tuple(v)) for name, v in values.items()}
