"""Histograms per unit whose buckets grow with the value: a bounded relative error at any size, in little memory.

After DDSketch (Masson et al. 2019, arXiv:1908.10693), with a mapping that reads exponent and leading bits of a number.
All of the range of float32 has buckets, 2 ** -126 to 2 ** 128 in size; only those between the lowest and the highest
value seen are held. Smaller sizes count as 0.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

LEAST, MOST = -126, 128  # powers of two, of normal float32
ROOM = 64  # buckets held beyond those that are needed, so that growing is rare


def side(fine: int) -> int:
    """Return the number of buckets of either sign. fine : bits of the mantissa, 2 ** fine buckets to a factor of 2."""
    return (MOST - LEAST) << fine


def bucket(values: Float[Tensor, "*n"], fine: int) -> Int[Tensor, "*n"]:
    """Return the bucket of each value, from the most negative up, `side(fine)` for 0; of what is not finite, too."""
    bits = values.float().contiguous().view(torch.int32)
    size = (bits & 0x7FFFFFFF).bitwise_right_shift_(23 - fine).sub_((1 << fine) - 1).clamp_(0, side(fine))
    sign = (bits >> 31).bitwise_or_(1)
    return size.mul_(sign).add_(side(fine)).long()


def edges(fine: int) -> Float[Tensor, " edges"]:
    """Return the values, float64, that buckets begin and end at, one more than buckets; that of 0 is a single value."""
    step = torch.arange(1, side(fine) + 1, dtype=torch.float64)
    exponent = torch.div(step, 1 << fine, rounding_mode="floor") + LEAST
    size = torch.cat([torch.zeros(1, dtype=torch.float64), (1 + step % (1 << fine) / (1 << fine)) * 2.0**exponent])
    return torch.cat([-size.flip(0), size])


def middles(fine: int) -> Float[Tensor, " buckets"]:
    """Return the value that each bucket stands for, float64."""
    step = torch.arange(side(fine), dtype=torch.float64)
    exponent = torch.div(step, 1 << fine, rounding_mode="floor") + LEAST
    positive = (1 + (step % (1 << fine) + 0.5) / (1 << fine)) * 2.0**exponent
    return torch.cat([-positive.flip(0), torch.zeros(1, dtype=torch.float64), positive])


class Histogram:
    """Counts of values in buckets. counts : (units, n), of the buckets from `first` on; none of others has a value."""

    def __init__(self, units: int, fine: int, dtype: torch.dtype, device: torch.device) -> None:
        self.fine, self.first = fine, side(fine)
        self.counts = torch.zeros(units, 0, dtype=dtype, device=device)
        self._units = torch.arange(units, device=device)
        self._one = torch.ones(1, dtype=dtype, device=device)

    def add(self, values: Float[Tensor, "n units"], counted: Bool[Tensor, "n units"] | None = None) -> None:
        """Add values. counted : which of them count; all when None."""
        if not values.numel():
            return
        index = bucket(values, self.fine)
        if counted is not None:
            index = index.where(counted, side(self.fine))
        low, high = torch.stack(torch.aminmax(index)).tolist()
        self.reach(low, high + 1)
        index = index.sub_(self.first).add_(self._units * self.counts.shape[1]).flatten()
        weight = self._one.expand(index.shape) if counted is None else counted.to(self._one).flatten()
        self.counts.view(-1).scatter_add_(0, index, weight)

    def merge(self, first: int, counts: Int[Tensor, "units n"]) -> None:
        """Add other counts, from another first bucket on."""
        if counts.shape[1] and not self.counts.shape[1]:
            self.first, self.counts = first, counts.to(self.counts, copy=True)
        elif counts.shape[1]:
            self.reach(first, first + counts.shape[1])
            self.counts[:, first - self.first : first - self.first + counts.shape[1]] += counts.to(self.counts)

    def reach(self, first: int, end: int) -> None:
        """Hold the buckets from `first` to before `end`."""
        width = self.counts.shape[1]
        if not width:
            self.first = first
        before, after = max(0, self.first - first), max(0, end - self.first - width)
        if before or after:
            before, after = before and before + ROOM, after and after + ROOM
            self.counts, self.first = F.pad(self.counts, (before, after)), self.first - before

    def trimmed(self) -> tuple[int, Int[Tensor, "units n"]]:
        """Return the first bucket that any unit uses, and the counts from it to the last; 0 and none without any."""
        used = self.counts.any(0).nonzero()[:, 0]
        if not len(used):
            return 0, self.counts[:, :0]
        low, high = int(used[0]), int(used[-1]) + 1
        return self.first + low, self.counts[:, low:high]
