"""How often a unit is on, its mean, and the maps that hold anything but finite numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.seen import Seen

NEVER = torch.iinfo(torch.int64).max
COUNTS = ("finite", "positive", "everywhere", "broken", "total")


class Presence:
    """Counts per unit.

    finite : (units,) maps of finite numbers alone; all else is over these. positive, everywhere : (units,) those that
    are positive anywhere, and at every place. total : (units,) float64, sum of their means. broken : (units,) maps that
    hold NaN or an infinity. first : (1,) number of the first image with one, or NEVER.
    """

    def __init__(self, room: Room) -> None:
        def zeros(kind: torch.dtype) -> Tensor:
            return torch.zeros(room.units, dtype=kind, device=room.device)

        self.finite, self.positive, self.everywhere, self.broken = (zeros(torch.int64) for _ in range(4))
        self.total = zeros(torch.float64)
        self.first = torch.full((1,), NEVER, device=room.device)

    def add(self, seen: Seen) -> None:
        """Take in one batch."""
        self.finite += len(seen.peak)
        self.positive += (seen.peak > 0).sum(0)
        self.everywhere += ((seen.low > 0) & seen.finite).sum(0)
        self.total += seen.mean.sum(0, dtype=torch.float64)
        if not seen.clean:
            broken = (~seen.finite).sum(0)
            self.finite -= broken
            self.broken += broken
            bad = torch.where(seen.finite.all(1), NEVER, seen.batch.numbers)
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
        """Go on from what was stored."""
        for key in self.tensors():
            setattr(self, key, tensors[key].to(self.finite.device))
