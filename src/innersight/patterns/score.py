"""How far a pattern got, and how far it can be believed."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address
from innersight.layers import default_layers, survey
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.patterns.jobs import FinishedPattern
from innersight.patterns.objectives import Objective
from innersight.patterns.options import Views
from innersight.patterns.parameterize import frequencies
from innersight.patterns.responses import Natural, ObjectiveBatch, References, whole
from innersight.patterns.views import draw, view
from innersight.quotients import normalised, quotient

HELD_OUT, LOOKS = Views(shift=0.1, zoom=0.15, rotate=12.0), 4
PASSES = LOOKS + 4  # of every image that is scored: its start and end, the looks, and the layer at start and end
HIGH = 0.25  # cycles a pixel
FLAT = 1e-6
NOISY = 0.4  # share of the energy above HIGH; seven photographs have 0.02 to 0.08, white noise 0.8
FRAGILE = 0.5
BATCH = 16


@dataclass(frozen=True)
class Score:
    """How far a pattern got.

    Attributes
    ----------
    activation : float
        The response to the finished pattern: the peak of the unit's map (the lowest value, negated, of a unit to be
        inhibited), the class score, or the value of the objective.
    start : float
        The same for the image that the optimizer started from.
    natural, p999 : float or None
        The highest response over the images given, and its 99.9th percentile over images and locations; None without
        images.
    held : float
        Mean response over transformations that the optimizer never used: wider shifts, rotations and zooms.
    agreement : float or None
        Cosine, -1 to 1, between what two seeds changed in the other units of the layer, averaged over pairs of seeds;
        None with one seed. Patterns of different units change much in the same way too: compare with theirs.
    grain : float
        Share of the image's energy above a quarter cycle per pixel, 0 to 1.
    steps : int
        Updates made.
    converged : bool
        Whether the response had stopped rising.
    rectified : bool
        Whether the unit cannot be below 0.
    still : bool
        Whether no gradient reached the image at the end.

    """

    activation: float
    start: float
    natural: float | None
    held: float
    p999: float | None
    agreement: float | None
    grain: float
    steps: int
    converged: bool
    rectified: bool
    still: bool

    @property
    def ratio(self) -> float | None:
        """Activation as a multiple of the natural maximum; None where that is unknown or not positive."""
        return _times(self.activation, self.natural)

    @property
    def p999_ratio(self) -> float | None:
        """Activation as a multiple of the natural 99.9th percentile; None where that is unknown or not positive."""
        return _times(self.activation, self.p999)

    @property
    def flags(self) -> tuple[str, ...]:
        """What speaks against the pattern.

        dead : the unit was silent at the start and still is, and no image given activates it. silent : it still is, but
        images do activate it. stuck : the response did not rise. saturated : it rose to where no gradient is left.
        unconverged : it was still rising. noisy : much fine grain, as adversarial images have. fragile : less than
        half the response under other views. below natural : images activate the unit more. not a number : the network
        gave none.
        """
        if not math.isfinite(self.activation):
            return ("not a number",)
        found = []
        if self.rectified and self.activation <= 0 and self.start <= 0:
            found.append("dead" if self.natural is None or self.natural <= 0 else "silent")
        elif self.activation <= self.start:
            found.append("stuck")
        elif self.still:
            found.append("saturated")
        elif not self.converged:
            found.append("unconverged")
        if self.grain > NOISY:
            found.append("noisy")
        if self.activation > 0 and self.held < FRAGILE * self.activation:
            found.append("fragile")
        if self.natural is not None and self.activation < self.natural:
            found.append("below natural")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain data; None for values that are no numbers."""
        found = {
            "activation": self.activation,
            "start": self.start,
            "natural": self.natural,
            "ratio": self.ratio,
            "p999": self.p999,
            "p999_ratio": self.p999_ratio,
            "held": self.held,
            "agreement": self.agreement,
            "grain": self.grain,
            "steps": self.steps,
            "converged": self.converged,
            "flags": list(self.flags),
        }
        return {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in found.items()}


def scored(
    model: Model,
    drawn: Sequence[Sequence[FinishedPattern]],
    references: References,
    naturals: Sequence[Natural | None],
) -> tuple[list[int], list[Score]]:
    """Return for each objective which of its seeds responds most, and the score of that one.

    drawn : per objective one entry per seed, of which the first image counts.
    """
    flat = [(one.job.objective, one) for seeds in drawn for one in seeds]
    begun = torch.stack([one.begun[0] for _, one in flat])
    pixels = torch.stack([one.pixels[0] for _, one in flat])
    wanted = [objective for objective, _ in flat]
    starts = respond(model, wanted, begun, references)
    ends = respond(model, wanted, pixels, references)
    looks = draw(HELD_OUT, torch.Generator().manual_seed(zlib.crc32(b"held out")), LOOKS)
    held = sum(respond(model, wanted, view(pixels, look.expand(len(pixels), 4)), references) for look in looks) / LOOKS
    assert isinstance(held, Tensor)
    grains = grain(pixels)
    layers = beside(model, wanted)
    before, after = _means(model, layers, begun), _means(model, layers, pixels)
    best: list[int] = []
    scores: list[Score] = []
    first = 0
    for seeds, natural in zip(drawn, naturals, strict=True):
        span = slice(first, first + len(seeds))
        # A value that is no number is never the best.
        chosen = int(ends[span].nan_to_num(-math.inf, math.inf, -math.inf).argmax())
        i, one = first + chosen, seeds[chosen]
        agreement = _agreement(one.job.objective, before[span], after[span])
        rectified = _rectified(one.job.objective, before[span], after[span])
        scores.append(
            Score(
                float(ends[i]), float(starts[i]), natural.highest if natural else None, float(held[i]),
                natural.p999 if natural else None, agreement, float(grains[i]), one.steps, one.converged, rectified,
                one.still,
            )
        )  # fmt: skip
        best.append(chosen)
        first += len(seeds)
    return best, scores


def beside(model: Model, wanted: Sequence[Objective]) -> list[str | None]:
    """Return the layer in which images of each objective are compared: its own, for a class the last with a grid.

    None for a class of a network without any layer that can be read.
    """
    own = [objective.terms[0].layer for objective in wanted]
    if all(own):
        return own
    known = survey(model)
    last = known[-1].name if known else None
    if any(layer.grid != (1, 1) for layer in known):
        last = default_layers(model)[-1]
    return [layer or last for layer in own]


def respond(model: Model, wanted: Sequence[Objective], pixels: Tensor, references: References) -> Tensor:
    """Return the response of each objective to its own image: (n,), on the CPU."""
    found = []
    with torch.no_grad():
        for start in range(0, len(wanted), BATCH):
            own = list(wanted[start : start + BATCH])
            spare = whole(len(own)) - len(own)
            part = pixels[start : start + BATCH]
            part = torch.cat([part, part[-1:].expand(spare, -1, -1, -1)]).to(model.device)
            part = part.contiguous(memory_format=memory_format(model))
            reading = ObjectiveBatch(model, own + own[-1:] * spare, references=references, peak=True)
            found.append(reading(part)[: len(own)].float().cpu())
    return torch.cat(found)


def grain(pixels: Tensor) -> Tensor:
    """Return (n,) the share of each image's energy above a quarter cycle a pixel, its mean left out."""
    grey = pixels.double().mean(1)
    grey = grey - grey.mean((1, 2), keepdim=True)
    # Less than this, of pixels in 0..1, is the rounding of an image that is the same everywhere.
    grey = grey.masked_fill(grey.abs().amax((1, 2), keepdim=True) < FLAT, 0)
    power = torch.fft.rfft2(grey).abs().square()
    power[..., 1 : (grey.shape[2] + 1) // 2] *= 2
    high = frequencies(grey.shape[1], grey.shape[2]) > HIGH
    return quotient(power[:, high].sum(1), power.sum((1, 2))).float()


def _means(model: Model, layers: Sequence[str | None], pixels: Tensor) -> list[Tensor]:
    """Return the mean and the lowest location of every unit of each image's own layer: (units, 2) each."""
    found: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(layers), BATCH):
            own = layers[start : start + BATCH]
            x = model.input.normalise(pixels[start : start + BATCH].to(model.device)).to(model.dtype)
            captured = tap.capture(model, x, sorted({layer for layer in own if layer is not None}))
            none = x.new_zeros(0, 1, 1)
            maps = [none if layer is None else captured.activations[layer][row] for row, layer in enumerate(own)]
            found += [torch.stack([m.float().mean((1, 2)), m.float().amin((1, 2))], 1).cpu() for m in maps]
    return found


def _agreement(objective: Objective, begun: Sequence[Tensor], ended: Sequence[Tensor]) -> float | None:
    """Return how far the seeds changed the other units of the layer in the same way."""
    if len(ended) < 2 or not len(ended[0]):
        return None
    change = torch.stack([after[:, 0] - before[:, 0] for after, before in zip(ended, begun, strict=True)])
    address = objective.terms[0].address
    if isinstance(address, Address) and address.unit is not None and change.shape[1] > 1:
        change = torch.cat([change[:, : address.unit], change[:, address.unit + 1 :]], 1)
    unit = normalised(change, 1)
    cosine = unit @ unit.T
    return float(cosine[torch.triu(torch.ones_like(cosine), 1) > 0].mean())


def _rectified(objective: Objective, begun: Sequence[Tensor], ended: Sequence[Tensor]) -> bool:
    """Return whether the unit cannot be below zero: its lowest value is exactly zero somewhere and nowhere less."""
    term = objective.single
    if term is None or term.weight < 0 or not isinstance(term.address, Address):
        return False
    return min(float(lowest[term.address.unit, 1]) for lowest in (*begun, *ended)) == 0.0


def _times(value: float, of: float | None) -> float | None:
    return value / of if of is not None and of > 0 else None
