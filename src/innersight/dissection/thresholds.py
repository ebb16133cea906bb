"""Thresholds: the value that each unit exceeds at a given share of its locations, over a whole data set."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.scan import buckets

FINE = 6  # bits of the mantissa: 64 buckets to a factor of two
ERROR = 2.0**-FINE


class Thresholds:
    """A histogram of every location of every unit, whose buckets grow with the value; see `innersight.scan.buckets`.

    As in a scan (`innersight.scan.statistics.sketch`), finer, and over all locations, as 0.5% of few images are few.
    left_out : maps that contain values that are not finite.
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self.values = buckets.Histogram(units, FINE, torch.int64, device)
        self.left_out = 0

    def add(self, activation: Float[Tensor, "B units h w"]) -> None:
        """Take in one batch, without the maps that contain values that are not finite."""
        values = activation.float().flatten(2).transpose(1, 2)
        finite = values.isfinite().all(1, keepdim=True)
        broken = int((~finite).sum())
        self.left_out += broken
        self.values.add(values.flatten(0, 1), finite.expand_as(values).flatten(0, 1) if broken else None)

    def above(self, share: float) -> Float[Tensor, " units"]:
        """Return the threshold T of each unit with P(value > T) = share, float32; +inf for one without finite maps.

        Within a bucket the values count as evenly spread: T is within `ERROR` of the exact one, relative.
        """
        counts, edges = self.values.counts.cpu(), buckets.edges(FINE)
        width = counts.shape[1]
        if not width:
            return torch.full((len(counts),), torch.inf)
        over = counts.flip(1).cumsum(1).double()  # locations in this bucket or higher ones
        wanted = share * over[:, -1:]
        index = torch.searchsorted(over, wanted).clamp(max=width - 1)
        inside = counts.flip(1).gather(1, index).double()
        part = ((over.gather(1, index) - wanted) / inside.clamp(min=1)).clamp(0, 1)
        at = self.values.first + width - 1 - index[:, 0]
        found = edges[at] + (edges[at + 1] - edges[at]) * part[:, 0]
        return found.float().masked_fill(over[:, -1] == 0, torch.inf)
