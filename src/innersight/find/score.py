"""How well a unit responds to a region: the share of its strongest locations, and the fit to the sides of a box."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

STRONGEST = 0.05


def at(pixels: Float[Tensor, "P H W"], size: tuple[int, int]) -> Float[Tensor, "P h w"]:
    """Return the covered part of each cell of a grid, from that of each pixel."""
    return F.interpolate(pixels[:, None], size=size, mode="area")[:, 0]


class Strongest:
    """The strongest locations of every unit, streamed: of the others nothing is kept, of equal ones only their sums.

    wanted : how many locations are taken; need not be a whole number.
    """

    def __init__(self, wanted: float) -> None:
        self._wanted = wanted
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, values: Float[Tensor, "units n"], weights: Float[Tensor, " n"], within: Float[Tensor, " n"]) -> None:
        """Add locations. weights : how much each counts, 0 to 1. within : the part of each that lies in the region."""
        counted = weights > 0
        rows = len(values)
        new = (values[:, counted], weights[counted].expand(rows, -1), within[counted].expand(rows, -1))
        old = self._kept or tuple(values.new_zeros(rows, 0) for _ in new)
        both = [torch.cat(pair, 1).double() for pair in zip(old, new, strict=True)]
        if both[0].shape[1] == 0:
            return
        ordered, order = both[0].sort(1, descending=True)
        weights, within = both[1].gather(1, order), both[2].gather(1, order)
        last = (weights.cumsum(1) < self._wanted * (1 - 1e-9)).sum(1, keepdim=True).clamp(max=ordered.shape[1] - 1)
        least = ordered.gather(1, last)
        above, level = ordered > least, ordered == least
        # Behind those above the level one entry for all that are on it; the rest has no weight.
        count = above.sum(1, keepdim=True)
        size = int(count.max()) + 1
        kept = []
        for part, end in ((ordered, least), *((p, (p * level).sum(1, keepdim=True)) for p in (weights, within))):
            held = torch.where(above[:, :size], part[:, :size], 0.0)
            kept.append(held.scatter(1, count, end))
        unused = torch.arange(size) > count
        kept[0] = kept[0].masked_fill(unused, -torch.inf)
        self._kept = kept[0], kept[1], kept[2]

    def share(self, possible: float) -> Float[Tensor, " units"]:
        """Return the part of the region in the locations taken, 0 to 1, relative to `possible`.

        Locations of equal value share what is left to take.
        """
        assert self._kept is not None
        values, weights, within = self._kept
        least = values.masked_fill(weights == 0, torch.inf).amin(1, keepdim=True)
        above, level = (values > least).double(), (values == least).double()
        left = (self._wanted - (above * weights).sum(1)) / (level * weights).sum(1).clamp(min=1e-12)
        taken = (above * within).sum(1) + left.clamp(0, 1) * (level * within).sum(1)
        return (taken / possible).clamp(0, 1).float()


def largest_share(region: Float[Tensor, "P h w"], wanted: float) -> float:
    """Return how much of the region `wanted` locations could hold. region : the part of each location in it, 0 to 1."""
    ordered = region.double().flatten().sort(descending=True).values
    return float((ordered * (wanted - torch.arange(len(ordered))).clamp(0, 1)).sum())


def fits(maps: Float[Tensor, "P units h w"], region: Float[Tensor, "P h w"]) -> Float[Tensor, "P units"]:
    """Return how well the peaks of each map's rows and columns predict those that the region reaches, 0 to 1."""
    found = []
    for values, covered in zip(maps.double(), region.double(), strict=True):
        rows = average_precision(values.amax(2), covered.amax(1))
        columns = average_precision(values.amax(1), covered.amax(0))
        found.append((rows * columns).sqrt())
    return torch.stack(found).float()


def average_precision(values: Float[Tensor, "units n"], ground_truth: Float[Tensor, " n"]) -> Float[Tensor, " units"]:
    """Return the average precision of each row of values for a ground truth between 0 and 1; equal values are tied."""
    ordered, order = values.sort(1, descending=True)
    hits = ground_truth[order]
    last = torch.searchsorted(-ordered, (-ordered).contiguous(), right=True) - 1
    precision = hits.cumsum(1).gather(1, last) / (last + 1)
    return (precision * hits).sum(1) / ground_truth.sum().clamp(min=1e-12)
