"""How a unit's activation is distributed over all locations of all images."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan import buckets
from innersight.scan.layer_batch import Batch, LayerBatch
from innersight.scan.statistics import LayerSettings, statistics

FINE = 4  # bits of the mantissa: 16 buckets to a factor of two
ERROR = 2.0 ** -(FINE + 1)  # relative, of a value read from the sketch
LOCATIONS = 4  # looked at in each map
TOGETHER = 512  # values of a unit that are counted in one go


@statistics.register(
    "Quantiles of the activation",
    source="Masson et al. 2019, arXiv:1908.10693",
    use="How is each unit's activation distributed?",
)
def sketch(settings: LayerSettings) -> "Sketch":
    """Keep a histogram of every unit's activation, from which quantiles are read within 1/32 of their value."""
    return Sketch(settings)


class Sketch:
    """A histogram per unit whose buckets grow with the value, so that quantiles have a bounded relative error.

    Of each map four locations count, drawn by the image's number: the same for every batch size, and every location as
    likely as any other. What is stored: counts (units, n) int32 of the buckets that any unit uses, from the most
    negative up, and first, the number of the first of them; see `innersight.scan.buckets`.
    """

    def __init__(self, settings: LayerSettings) -> None:
        self._values = buckets.Histogram(settings.units, FINE, torch.int32, settings.device)
        self._waiting: list[Tensor] = []
        self._count = 0

    def add(self, batch: LayerBatch) -> None:
        """Add a batch; maps that hold anything but finite numbers are left out."""
        total = batch.locations_per_map
        count = min(LOCATIONS, total)
        found = batch.values(batch.images.cached(_chosen, total, count))
        if not batch.clean:
            self._values.add(found, batch.finite[:, None].expand(-1, count, -1).flatten(0, 1))
            return
        self._waiting.append(found)
        self._count += len(found)
        if self._count >= TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Count the values that wait."""
        if self._waiting:
            self._values.add(self._waiting[0] if len(self._waiting) == 1 else torch.cat(self._waiting))
        self._waiting, self._count = [], 0

    @property
    def values(self) -> buckets.Histogram:
        """The histogram of all values added."""
        self.settle()
        return self._values

    def merge(self, later: "Sketch") -> None:
        """Add the counts of later images."""
        self.values.merge(*later.values.trimmed())

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts of the buckets that any unit uses, and the first of them."""
        first, counts = self.values.trimmed()
        return {"counts": counts, "first": torch.tensor([first])}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        self.values.merge(int(tensors["first"]), tensors["counts"].to(self.values.counts.device))


def quantile(counts: Int[Tensor, "units n"], first: int, share: float) -> Float[Tensor, " units"]:
    """Return the value below which this share of the locations lies, float32; NaN for a unit without any.

    Within `ERROR` of the exact quantile of the locations counted; the rank is that of the higher of two neighbours.
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
    """Return the share of the locations counted whose value is above zero; NaN without any."""
    sums = counts.long()
    return (sums[:, max(0, buckets.side(FINE) + 1 - first) :].sum(1) / sums.sum(1)).float()


def _chosen(images: Batch, total: int, count: int) -> Tensor:
    return drawn(images.numbers, total, count)


def drawn(numbers: Int[Tensor, " B"], total: int, count: int) -> Int[Tensor, "B count"]:
    """Return `count` different locations of `total` for each image: evenly spaced, from a start drawn by its number."""
    start = (numbers * 2654435761 + 97) % 4294967291 % total
    step = torch.arange(count, device=numbers.device) * total // count
    return (start[:, None] + step) % total
