"""The same units over several images: which of them respond to the same thing in all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.activations import compute
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.image import Image, stack
from innersight.inputs import read
from innersight.layers import check_layers, last_grid
from innersight.model import Model
from innersight.quotients import normalised, quotient
from innersight.result import Result

STILL = 1e-6
"""Of a feature's largest size: what varies by less is the same everywhere."""
DEFINITION = (
    "Score: the geometric mean of strength, sparsity and agreement. Strength: the share of the layer's units that "
    "peak lower in the image. Sparsity: Hoyer's measure of the map's positive part (1 = a single location, 0 = "
    "the same everywhere). The lowest of all images counts, for both. Agreement: the cosine between the images of the "
    "other features of the network, averaged where the unit is active (above half of its peak), relative to their mean "
    "over all locations; a negative cosine counts as 0. A unit that responds to the padding around the image has the "
    "score 0: in all images it peaks at the border, where half of the peak is there on an empty image too."
)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Units of one layer, ranked by how consistently they respond to the same thing in all images.

    maps : (images, units, h, w) float32. order : units, best first. score, agreement : (units,) in 0..1.
    strength, sparsity : (units, images) in 0..1. `DEFINITION` defines them. pairs : (units, pairs) the cosine that the
    agreement is the mean of, for images 0 and 1, 0 and 2 and so on. padding : (units,) whether a unit
    responds to the padding around the image. skipped : one sentence for each file that
    could not be read. notes : how the images were understood.
    """

    model: Model
    layer: str
    images: tuple[Image, ...]
    maps: Tensor
    order: tuple[int, ...]
    score: Tensor
    strength: Tensor
    sparsity: Tensor
    agreement: Tensor
    pairs: Tensor
    padding: Tensor
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def reason(self, unit: int) -> str:
        """Return in one sentence why the unit ranks where it does."""
        if self.padding[unit]:
            return "responds to the padding at the border of the images, as on an empty one"
        weakest, widest = float(self.strength[unit].min()), float(self.sparsity[unit].min())
        return (
            f"peaks above {weakest:.0%} of the layer's units in every image, sparsity {widest:.2f} or more, "
            f"agreement {float(self.agreement[unit]):.2f}"
        )

    def rank(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the best units as plain rows.

        Parameters
        ----------
        limit
            At most this many; all when None.

        Returns
        -------
        list of dict
            unit, address, score, strength and sparsity of every image, agreement, padding and reason, best first.

        """
        return [
            {
                "unit": unit,
                "address": f"{self.layer}:{unit}",
                "score": float(self.score[unit]),
                "strength": self.strength[unit].tolist(),
                "sparsity": self.sparsity[unit].tolist(),
                "agreement": float(self.agreement[unit]),
                "padding": bool(self.padding[unit]),
                "reason": self.reason(unit),
            }
            for unit in self.order[:limit]
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the whole ranking with its definition."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "images": [image.name for image in self.images],
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "rank": self.rank(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the maps and the scores."""
        return {
            "maps": self.maps,
            "score": self.score,
            "strength": self.strength,
            "sparsity": self.sparsity,
            "agreement": self.agreement,
            "pairs": self.pairs,
            "padding": self.padding,
        }


@public()
def compare(model: Model, images: Any, layer: str) -> Comparison:
    """Rank the units of a layer by how consistently they respond to the same thing in several images.

    Parameters
    ----------
    model
        The network.
    images
        Anything that holds images, see `innersight.inputs.entries`; at least two, all held in memory.
    layer
        Name of the layer.

    Returns
    -------
    Comparison
        All units, best first.

    Raises
    ------
    InnersightError
        For fewer than two images, and for a layer with a grid of 1 x 1.
    ImageError
        When no image could be read.

    Notes
    -----
    The score is the geometric mean of strength, sparsity and agreement, each in 0..1 and defined in
    `innersight.compare.DEFINITION`; sparsity follows Hoyer 2004 (JMLR 5, 1457-1469). The features that decide the
    agreement are the units of the last layer with a grid, without the unit itself.

    Examples
    --------
    >>> import innersight as ins
    >>> import torch
    >>> found = ins.compare(ins.load("small:8"), torch.rand(2, 3, 80, 80), "stage1")
    >>> sorted(found.order)
    [0, 1, 2, 3, 4, 5, 6, 7]

    """
    found = read(images, model.input)
    loaded = found.images
    if len(loaded) < 2:
        left = f": {found.skipped[0]}" if found.skipped else ""
        raise InnersightError(f"compare needs at least two images{left}")
    (described,) = check_layers(model, [layer])
    if described.grid == (1, 1):
        raise InnersightError(f"{layer} has a grid of 1x1, so its units cannot be compared by location")
    context = last_grid(model)[0]
    x = stack(loaded, model.input)
    values = compute(model, x, [layer, context])
    # An empty image is 0 of the network input: the mean colour of the training data for most networks.
    empty = compute(model, torch.zeros_like(x[:1]), [layer])[layer]
    ranked = rank(model, layer, loaded, values[layer], values[context], own=layer == context, empty=empty)
    return replace(ranked, skipped=found.skipped, notes=(*found.notes, *_about_copies(loaded, x)))


def _about_copies(images: Sequence[Image], x: Tensor) -> Iterator[str]:
    """Yield a sentence for each image that the network sees as it sees an earlier one."""
    for i, image in enumerate(images):
        first = next(j for j in range(i + 1) if torch.equal(x[i], x[j]))
        if first < i:
            names = f"{printable(images[first].name)} and {printable(image.name)}"
            yield f"{names} are the same image, so agreement on them is meaningless"


def rank(
    model: Model,
    layer: str,
    images: tuple[Image, ...],
    maps: Float[Tensor, "B units h w"],
    features: Float[Tensor, "B D fh fw"],
    *,
    own: bool,
    empty: Float[Tensor, "1 units h w"] | None = None,
) -> Comparison:
    """Score maps already computed; `own` says that `features` are the same layer's. empty : maps of an empty image."""
    positive = maps.clamp(min=0)
    peaks = positive.amax((2, 3))
    strength = (peaks[:, :, None] > peaks[:, None, :]).float().sum(2) / max(1, maps.shape[1] - 1)
    sparsity = hoyer(positive)
    pairs = _pairs(positive, features, own=own)
    agreement = pairs.mean(1).clamp(0, 1)
    padding = torch.zeros(maps.shape[1], dtype=torch.bool) if empty is None else at_padding(positive, empty[0])
    score = ((strength.amin(0) * sparsity.amin(0) * agreement).clamp(min=0) ** (1 / 3)).masked_fill(padding, 0)
    order = tuple(score.argsort(descending=True, stable=True).tolist())
    return Comparison(
        model, layer, images, maps, order, score, strength.T, sparsity.T, agreement.float(), pairs.float(), padding
    )


def at_padding(positive: Float[Tensor, "B units h w"], empty: Float[Tensor, "units h w"]) -> Bool[Tensor, " units"]:
    """Return which units peak at the border in all images, where an empty image gives at least half of it.

    Of the empty image counts what lies above its median, which a bias alone raises.
    """
    height, width = empty.shape[1:]
    border = torch.ones(height, width, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    flat = empty.flatten(1)
    excess = (flat - flat.median(1, keepdim=True).values).masked_fill(~border.flatten(), 0)
    peaks, at = positive.flatten(2).max(2)
    found: Tensor = ((peaks / 2 <= excess.gather(1, at.T).T) & (peaks > 0)).all(0)
    return found


def hoyer(positive: Float[Tensor, "B units h w"]) -> Float[Tensor, "B units"]:
    """Return Hoyer's sparsity of each non-negative map: `(sqrt(n) - l1/l2) / (sqrt(n) - 1)`; 0 for an empty map."""
    unit = normalised(positive.flatten(2), 2)
    root = unit.shape[2] ** 0.5
    measure = (root - unit.sum(2)) / (root - 1)
    return torch.where(unit.any(2), measure.clamp(0, 1), 0.0)


def _pairs(
    positive: Float[Tensor, "B units h w"], features: Float[Tensor, "B D fh fw"], *, own: bool
) -> Float[Tensor, "units pairs"]:
    """Return for all pairs of images the cosine between the features where the unit is active."""
    size = (positive.shape[2], positive.shape[3])
    context = F.interpolate(features.double(), size=size, mode="bilinear", align_corners=False)
    centred = context - context.mean((0, 2, 3), keepdim=True)
    # A feature that is the same everywhere up to the rounding of float32 distinguishes no locations.
    still = centred.abs().amax((0, 2, 3)) <= STILL * context.abs().amax((0, 2, 3))
    centred = centred.masked_fill(still[:, None, None], 0)
    centred = quotient(centred, centred.std((0, 2, 3), keepdim=True))
    fires = (positive - positive.amax((2, 3), keepdim=True) / 2).clamp(min=0).flatten(2).double()
    weights = quotient(fires, fires.sum(2, keepdim=True))
    described = torch.einsum("bup,bdp->bud", weights, centred.flatten(2))
    if own:
        units = torch.arange(positive.shape[1])
        described[:, units, units] = 0
    unit = normalised(described, 2)
    cosine = torch.einsum("aud,bud->uab", unit, unit)
    above = torch.triu_indices(len(positive), len(positive), offset=1)
    return cosine[:, above[0], above[1]]
