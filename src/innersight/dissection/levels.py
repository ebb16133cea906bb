"""Levels: the value that each unit stays below at all but a given share of its places, over a whole data set."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

FINE = 6  # bits of the mantissa: 64 buckets to a factor of two
LEAST, MOST = -24, 16  # powers of two; smaller sizes count as 0, larger ones as the largest
SIDE = (MOST - LEAST) << FINE
BUCKETS = 2 * SIDE + 1
ERROR = 2.0**-FINE


class Levels:
    """A histogram of every place of every unit, whose buckets grow with the value; its memory is fixed.

    As in a scan (`innersight.scan.kinds.sketch`), finer and over all places: the last 0.5% of few pictures are few.
    counts : (units, BUCKETS) int64, from the most negative up. left_out : maps that hold anything but finite numbers.
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self.counts = torch.zeros(units, BUCKETS, dtype=torch.int64, device=device)
        self.left_out = 0
        self._starts = (torch.arange(units, device=device) * BUCKETS)[:, None]

    def add(self, activation: Float[Tensor, "B units h w"]) -> None:
        """Take in one batch; of maps that hold anything but finite numbers nothing."""
        values = activation.float().flatten(2)
        finite = values.isfinite().all(2, keepdim=True)
        self.left_out += int((~finite).sum())
        weight = finite.expand_as(values).to(torch.int64)
        self.counts.view(-1).index_add_(0, (bucket(values) + self._starts).flatten(), weight.flatten())

    def above(self, share: float) -> Float[Tensor, " units"]:
        """Return the level T of each unit with P(value > T) = share, float32; +inf for a unit without any finite map.

        Within a bucket the values count as evenly spread: T is within `ERROR` of the exact one, relative.
        """
        edges = edges_of_buckets()
        over = self.counts.cpu().flip(1).cumsum(1).double()  # places in this bucket or higher ones
        wanted = share * over[:, -1:]
        index = torch.searchsorted(over, wanted).clamp(max=BUCKETS - 1)
        inside = self.counts.cpu().flip(1).gather(1, index).double()
        part = ((over.gather(1, index) - wanted) / inside.clamp(min=1)).clamp(0, 1)
        at = BUCKETS - 1 - index[:, 0]
        found = edges[at] + (edges[at + 1] - edges[at]) * part[:, 0]
        return found.float().masked_fill(over[:, -1] == 0, torch.inf)


def bucket(values: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return the bucket of each value, 0 to BUCKETS - 1; what is not finite has one too."""
    bits = (values.contiguous().view(torch.int32) & 0x7FFFFFFF) >> (23 - FINE)
    size = (bits - ((127 + LEAST) << FINE) + 1).clamp_(0, SIDE)
    return torch.where(values < 0, SIDE - size, SIDE + size).long()


def edges_of_buckets() -> Float[Tensor, " edges"]:
    """Return the BUCKETS + 1 values that buckets begin and end at, float64; the bucket of 0 is a single value."""
    step = torch.arange(SIDE + 1, dtype=torch.float64)
    size = (1 + (step % (1 << FINE)) / (1 << FINE)) * 2.0 ** (torch.div(step, 1 << FINE, rounding_mode="floor") + LEAST)
    positive = torch.cat([torch.zeros(1, dtype=torch.float64), size[1:]])
    return torch.cat([-positive.flip(0), positive])
