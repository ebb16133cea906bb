"""How often a unit is positive, its mean, and the maps that hold anything but finite numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from innersight.scan.layer_batch import LayerBatch
from innersight.scan.statistics import LayerSettings, statistics

NEVER = torch.iinfo(torch.int64).max
COUNTS = ("finite", "positive", "everywhere", "broken", "total")


@statistics.register("Activity", use="Which units are never active, always active, or give values that are not finite?")
def presence(settings: LayerSettings) -> "Presence":
    """Count on how many images each unit is positive, and sum its means."""
    return Presence(settings)


class Presence:
    """Counts per unit.

    finite : (units,) maps of finite numbers alone; all else is over these. positive, everywhere : (units,) those that
    are positive anywhere and everywhere. total : (units,) float64, sum of their means. broken : (units,) maps that
    hold NaN or an infinity. first : (1,) number of the first image with one, or NEVER.
    """

    def __init__(self, settings: LayerSettings) -> None:
        def zeros(kind: torch.dtype) -> Tensor:
            return torch.zeros(settings.units, dtype=kind, device=settings.device)

        self.finite, self.positive, self.everywhere, self.broken = (zeros(torch.int64) for _ in range(4))
        self.total = zeros(torch.float64)
        self.first = torch.full((1,), NEVER, device=settings.device)

    def add(self, batch: LayerBatch) -> None:
        """Add a batch."""
        self.finite += len(batch.peak)
        self.positive += (batch.peak > 0).sum(0)
        self.everywhere += ((batch.low > 0) & batch.finite).sum(0)
        self.total += batch.mean.sum(0, dtype=torch.float64)
        if not batch.clean:
            broken = (~batch.finite).sum(0)
            self.finite -= broken
            self.broken += broken
            bad = torch.where(batch.finite.all(1), NEVER, batch.images.numbers)
            self.first = torch.minimum(self.first, bad.min())

    def merge(self, later: "Presence") -> None:
        """Add the counts of later images."""
        for key in COUNTS:
            setattr(self, key, getattr(self, key) + getattr(later, key))
        self.first = torch.minimum(self.first, later.first)

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts."""
        return {key: getattr(self, key) for key in (*COUNTS, "first")}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        for key in self.tensors():
            setattr(self, key, tensors[key].to(self.finite.device))
