"""Where a unit answers, class by class: the mean of its maps over the images of each class."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.scan.kinds.classes import known
from innersight.scan.kinds.room import Room
from innersight.scan.seen import Seen

SIDE = 7  # places a side, at most: finer maps are averaged down to it


class ClassMaps:
    """Sums of the maps of every unit over the images of each class; nothing unless `room.class_maps`.

    total : (classes, units, h, w) float64 with h and w at most 7, means over windows of the layer's grid; empty until a
    image of a known class comes. How many images there are is told by `Classes`, which counts the same ones.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.total = torch.zeros(0, dtype=torch.float64, device=room.device)

    def add(self, seen: Seen) -> None:
        """Take in the images of the batch whose class is known; of maps that are not all finite nothing."""
        rows = seen.batch.once(known)
        if not self._room.class_maps or not len(rows):
            return
        pooled = pool(seen.maps.permute(0, 3, 1, 2))[rows]
        if not seen.clean:
            pooled = pooled.where(seen.finite[rows][:, :, None, None], 0)
        if not len(self.total):
            self.total = self.total.new_zeros(self._room.classes, *pooled.shape[1:])
        self.total.index_add_(0, seen.batch.classes[rows], pooled.double())

    def merge(self, later: "ClassMaps") -> None:
        """Add the sums of later images."""
        if len(later.total):
            self.total = self.total + later.total if len(self.total) else later.total

    def tensors(self) -> dict[str, Tensor]:
        """Return the sums."""
        return {"total": self.total}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        self.total = tensors["total"].to(self._room.device)


def pool(maps: Tensor) -> Tensor:
    """Average maps (B, units, h, w) down to at most `SIDE` places a side."""
    return F.adaptive_avg_pool2d(maps, pooled_grid((maps.shape[2], maps.shape[3])))


def pooled_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of the class maps of a layer with this grid.

    >>> pooled_grid((56, 5))
    (7, 5)
    """
    return min(SIDE, grid[0]), min(SIDE, grid[1])
