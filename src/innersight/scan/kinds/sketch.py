"""How a unit's activation is distributed over all places of all images."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan import buckets
from innersight.scan.kinds.room import Room
from innersight.scan.seen import Batch, Seen

FINE = 4  # bits of the mantissa: 16 buckets to a factor of two
ERROR = 2.0 ** -(FINE + 1)  # relative, of a value read from the sketch
PLACES = 4  # looked at in each map


class Sketch:
    """A histogram per unit whose buckets grow with the value, so that quantiles have a bounded relative error.

    Of each map four places count, drawn by the image's number: the same for every batch size, and every place as
    likely as any other. What is stored: counts (units, n) int32 of the buckets that any unit uses, from the most
    negative up, and first, the number of the first of them; see `innersight.scan.buckets`.
    """

    def __init__(self, room: Room) -> None:
        self.values = buckets.Histogram(room.units, FINE, torch.int32, room.device)

    def add(self, seen: Seen) -> None:
        """Take in one batch; of maps that hold anything but finite numbers nothing."""
        total = seen.places_in_map
        count = min(PLACES, total)
        there = None if seen.clean else seen.finite[:, None].expand(-1, count, -1).flatten(0, 1)
        self.values.add(seen.values(seen.batch.once(_chosen, total, count)), there)

    def merge(self, later: "Sketch") -> None:
        """Add the counts of later images."""
        self.values.merge(*later.values.trimmed())

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts of the buckets that any unit uses, and the first of them."""
        first, counts = self.values.trimmed()
        return {"counts": counts, "first": torch.tensor([first])}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        self.values.merge(int(tensors["first"]), tensors["counts"].to(self.values.counts.device))


def quantile(counts: Int[Tensor, "units n"], first: int, share: float) -> Float[Tensor, " units"]:
    """Return the value below which this share of the places lies, float32; NaN for a unit without any.

    Within `ERROR` of the exact quantile of the places counted; the rank is that of the higher of two neighbours.
    """
    if not counts.shape[1]:
        return torch.full((len(counts),), math.nan)
    sums = counts.long().cumsum(1)
    total = sums[:, -1:]
    rank = (share * (total - 1).double()).ceil().clamp(min=0).long()
    index = torch.searchsorted(sums, rank + 1).clamp(max=counts.shape[1] - 1)[:, 0]
    found: Tensor = buckets.middles(FINE)[first + index].float()
    return found.masked_fill(total[:, 0] == 0, math.nan)


def share_above_zero(counts: Int[Tensor, "units n"], first: int) -> Float[Tensor, " units"]:
    """Return the share of the places counted whose value is above zero; NaN without any."""
    sums = counts.long()
    return (sums[:, max(0, buckets.side(FINE) + 1 - first) :].sum(1) / sums.sum(1)).float()


def _chosen(batch: Batch, total: int, count: int) -> Tensor:
    return drawn(batch.numbers, total, count)


def drawn(numbers: Int[Tensor, " B"], total: int, count: int) -> Int[Tensor, "B count"]:
    """Return `count` different places of `total` for each image: evenly spaced, from a start drawn by its number."""
    start = (numbers * 2654435761 + 97) % 4294967291 % total
    step = torch.arange(count, device=numbers.device) * total // count
    return (start[:, None] + step) % total
