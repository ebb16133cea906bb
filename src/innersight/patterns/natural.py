"""Patterns that look to the network like the images that excite it: what is matched, and to which images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address
from innersight.errors import InnersightError
from innersight.inputs import chosen
from innersight.layers import default_layers, has_grid, last_rectified, survey
from innersight.model import Model
from innersight.patterns.jobs import Recipe
from innersight.patterns.objectives import Distribution, Objective, Term
from innersight.patterns.objectives.natural import ascending
from innersight.patterns.responses import Naturals, ObjectiveBatch, References

KEPT = 24  # images, at most, whose activations are matched
FEWEST = 4
EXCITED = 0.5  # share of the highest response from which on an image counts as one that excites
LAYERS = 4  # that are matched, at most
DEEPER = 4.0  # times as much as the layer before it each layer weighs
STRENGTH = 3.0  # of the match at `natural` 0.5, where the response is counted in that of the images


def natural_objectives(
    model: Model,
    wanted: Sequence[Objective],
    naturals: Naturals,
    images: Any,
    recipe: Recipe,
    references: References,
) -> tuple[list[Objective], tuple[str, ...]]:
    """Return what is optimized for each objective, and sentences on those that cannot look natural.

    naturals : what `images` make of the objectives. Unchanged where the option `natural` is 0. Raises InnersightError
    without images, and for fewer than 4.
    """
    share = recipe.options.natural
    if not share:
        return list(wanted), ()
    if images is None:
        raise InnersightError(f"natural={share} needs images that the patterns shall look like: give images= (--image)")
    seen = max((len(own) for own in naturals.ranked), default=0)
    if seen < FEWEST:
        raise InnersightError(f"natural={share} needs at least {FEWEST} images; {seen} could be used")
    excited = [_exciting(one, own) for one, own in zip(wanted, naturals.ranked, strict=True)]
    pixels = _pixels(model, sorted({number for own in excited for number in own}), images, recipe)
    found, notes = [], []
    for one, numbers in zip(wanted, excited, strict=True):
        if not numbers:
            notes.append(f"{one}: none of the images excites it, so its pattern is the strongest and not a natural one")
        own = torch.stack([pixels[number] for number in numbers]) if numbers else None
        found.append(one if own is None else _matched(model, one, own, share, references))
    return found, tuple(notes)


def _exciting(objective: Objective, ranked: Sequence[tuple[float, int]]) -> list[int]:
    """Return the numbers of the images that excite an objective: at least half as much as the first, 4 at least."""
    top = ranked[0][0] if ranked else 0.0
    term = objective.single
    # A class score has no zero of its own.
    scored = term is None or not isinstance(term.address, Address)
    if top <= 0 and not scored:
        return []
    return [
        number
        for i, (value, number) in enumerate(ranked)
        if (value >= EXCITED * top > 0) or (i < FEWEST and (value > 0 or scored))
    ]


def _pixels(model: Model, numbers: Sequence[int], images: Any, recipe: Recipe) -> dict[int, Tensor]:
    """Return the images of these numbers at the size of the patterns, (C, H, W) in 0..1."""
    spec = replace(model.input, height=recipe.shape[1], width=recipe.shape[2])
    return {
        entry.number: spec.denormalise(entry.load(spec).tensor(spec)[None])[0].clamp(0, 1)
        for entry in chosen(images, numbers)
    }


def _matched(model: Model, objective: Objective, pixels: Tensor, share: float, references: References) -> Objective:
    """Return an objective with its response counted in that of images, and their activations to be matched."""
    layers = _layers(model, objective)
    reading = ObjectiveBatch(model, [objective] * len(pixels), references=references)
    with torch.enable_grad():
        values, maps = reading.beside(pixels.to(model.device).requires_grad_(True), layers)
        slopes = tap.gradients(model, values.sum(), list(maps.values()), allow_unused=True, materialize_grads=True)
    mean = float(values.detach().mean())
    size = abs(mean) if abs(mean) > 0 else 1.0
    # The dial is even in the ratio of both.
    found = objective * ((1 - share) / size)
    weights = [DEEPER**i for i in range(len(layers))]
    for layer, slope, weight in zip(layers, slopes, weights, strict=True):
        given = _distribution(maps[layer].detach().float(), slope.float())
        part = share * STRENGTH * weight / sum(weights)
        found = found + Objective((Term("natural", Address(layer), part, given),))
    return found


def _layers(model: Model, objective: Objective) -> list[str]:
    """Return the layers to be matched: the deepest that the objective reads, and default layers before it."""
    order = [layer.name for layer in survey(model)]
    own = [term.layer for term in objective.terms if term.layer is not None]
    whole = len(own) < len(objective.terms)
    default = default_layers(model)
    deepest = last_rectified(model) if has_grid(model) else default[-1]
    last = deepest if whole else max(own, key=order.index)
    before = [name for name in default if order.index(name) < order.index(last)]
    return [*before, last][-LAYERS:]


def _distribution(maps: Tensor, slopes: Tensor) -> Distribution:
    """Return the values of a layer over images, the units that count for the objective weighing more.

    Half of the weight is shared by all units, half by relevance: activation times gradient, where it is positive. Each
    is divided by the variance of the unit.
    """
    units = maps.shape[1]
    relevance = (maps * slopes).sum((2, 3)).mean(0).clamp(min=0)
    relevance = relevance / relevance.sum() if bool(relevance.sum() > 0) else torch.full_like(relevance, 1 / units)
    variance = maps.transpose(0, 1).flatten(1).var(1, unbiased=False)
    floor = 0.05 * variance.mean() + torch.finfo(maps.dtype).tiny
    weights = (0.5 / units + 0.5 * relevance) / (variance + floor)
    return Distribution(ascending(maps).mean(0).cpu(), weights.cpu())
