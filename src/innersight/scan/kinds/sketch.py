"""How a unit's activation is distributed over all places of all pictures."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.seen import Batch, Seen

FINE = 4  # bits of the mantissa: 16 buckets to a factor of two
LEAST, MOST = -12, 14  # powers of two; smaller sizes count as 0, larger ones as the largest
SIDE = (MOST - LEAST) << FINE
BUCKETS = 2 * SIDE + 1
ERROR = 2.0 ** -(FINE + 1)  # relative, of a value read from the sketch
PLACES = 4  # looked at in each map


class Sketch:
    """A histogram per unit whose buckets grow with the value, so that quantiles have a bounded relative error.

    After DDSketch (Masson et al. 2019, arXiv:1908.10693), with its mapping that reads exponent and leading bits of the
    number, and a fixed range. Of each map four places count, drawn by the picture's number: the same for every batch
    size, and every place as likely as any other. counts : (units, BUCKETS) int32, from the most negative up.
    """

    def __init__(self, room: Room) -> None:
        self.counts = torch.zeros(room.units, BUCKETS, dtype=torch.int32, device=room.device)
        self._one = torch.ones(1, dtype=torch.int32, device=room.device)
        self._starts = torch.arange(room.units, device=room.device) * BUCKETS

    def add(self, seen: Seen) -> None:
        """Take in one batch; of maps that hold anything but finite numbers nothing."""
        total = seen.places_in_map
        count = min(PLACES, total)
        index = bucket(seen.values(seen.batch.once(_chosen, total, count))).add_(self._starts).flatten()
        if seen.clean:
            weight = self._one.expand(index.shape)
        else:
            weight = seen.finite[:, None].expand(-1, count, -1).to(torch.int32).flatten()
        self.counts.view(-1).scatter_add_(0, index, weight)

    def merge(self, later: "Sketch") -> None:
        """Add the counts of later pictures."""
        self.counts += later.counts

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts of the buckets that any unit uses, and the first of them."""
        used = self.counts.any(0).nonzero()[:, 0]
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        return {"counts": self.counts[:, first:last], "first": torch.tensor([first])}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        self.counts = unpacked(tensors).to(self.counts.device)


def unpacked(tensors: Mapping[str, Tensor]) -> Int[Tensor, "units buckets"]:
    """Return all counts of a stored sketch."""
    kept, first = tensors["counts"], int(tensors["first"])
    counts = torch.zeros(len(kept), BUCKETS, dtype=torch.int32)
    counts[:, first : first + kept.shape[1]] = kept
    return counts


def bucket(values: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return the bucket of each value, 0 to BUCKETS - 1; what is not finite has one too."""
    bits = values.contiguous().view(torch.int32)
    size = (bits & 0x7FFFFFFF).bitwise_right_shift_(23 - FINE).sub_(((127 + LEAST) << FINE) - 1).clamp_(0, SIDE)
    sign = (bits >> 31).bitwise_or_(1)
    return size.mul_(sign).add_(SIDE).long()


def middles() -> Float[Tensor, " buckets"]:
    """Return the value that each bucket stands for, float64."""
    step = torch.arange(SIDE, dtype=torch.float64)
    exponent = torch.div(step, 1 << FINE, rounding_mode="floor") + LEAST
    mantissa = 1 + (step % (1 << FINE) + 0.5) / (1 << FINE)
    positive = mantissa * 2.0**exponent
    return torch.cat([-positive.flip(0), torch.zeros(1, dtype=torch.float64), positive])


def quantile(counts: Int[Tensor, "units buckets"], share: float) -> Float[Tensor, " units"]:
    """Return the value below which this share of the places lies, float32; NaN for a unit without any.

    Within `ERROR` of the exact quantile of the places counted, where that is between 2 ** LEAST and 2 ** MOST in size;
    the rank is that of the higher of two neighbours.
    """
    sums = counts.long().cumsum(1)
    total = sums[:, -1:]
    rank = (share * (total - 1).double()).ceil().clamp(min=0).long()
    index = torch.searchsorted(sums, rank + 1).clamp(max=BUCKETS - 1)[:, 0]
    found: Tensor = middles()[index].float()
    return found.masked_fill(total[:, 0] == 0, math.nan)


def share_above_zero(counts: Int[Tensor, "units buckets"]) -> Float[Tensor, " units"]:
    """Return the share of the places counted whose value is above zero, by 2 ** LEAST or more; NaN without any."""
    sums = counts.long()
    return (sums[:, SIDE + 1 :].sum(1) / sums.sum(1)).float()


def _chosen(batch: Batch, total: int, count: int) -> Tensor:
    return drawn(batch.numbers, total, count)


def drawn(numbers: Int[Tensor, " B"], total: int, count: int) -> Int[Tensor, "B count"]:
    """Return `count` different places of `total` for each picture: evenly spaced, from a start drawn by its number."""
    start = (numbers * 2654435761 + 97) % 4294967291 % total
    step = torch.arange(count, device=numbers.device) * total // count
    return (start[:, None] + step) % total
