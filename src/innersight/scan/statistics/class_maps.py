"""Where a unit responds, class by class: the mean of its maps over the images of each class."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.scan.layer_batch import LayerBatch
from innersight.scan.statistics import LayerSettings, statistics
from innersight.scan.statistics.class_sums import known

SIDE = 7  # cells a side, at most: finer maps are averaged down to it


@statistics.register(
    "Mean map for each class",
    use="Where does each unit respond on the images of each class?",
    requested_by="class_maps",
)
def class_maps(settings: LayerSettings) -> "ClassMaps":
    """Sum the maps of every unit over the images of each class, on at most 7 x 7 cells."""
    return ClassMaps(settings)


class ClassMaps:
    """Sum the maps of every unit over the images of each class; nothing unless `settings.class_maps`.

    total : (classes, units, h, w) float64 with h and w at most 7, means over windows of the layer's grid; empty until
    the first image of a known class. `ClassSums` counts the same images.
    """

    def __init__(self, settings: LayerSettings) -> None:
        self._settings = settings
        self.total = torch.zeros(0, dtype=torch.float64, device=settings.device)

    def add(self, batch: LayerBatch) -> None:
        """Add the images of the batch whose class is known; maps that are not all finite are left out."""
        rows = batch.images.cached(known)
        if not self._settings.class_maps or not len(rows):
            return
        pooled = pool(batch.maps.permute(0, 3, 1, 2))[rows]
        if not batch.clean:
            pooled = pooled.where(batch.finite[rows][:, :, None, None], 0)
        if not len(self.total):
            self.total = self.total.new_zeros(self._settings.classes, *pooled.shape[1:])
        self.total.index_add_(0, batch.images.classes[rows], pooled.double())

    def merge(self, later: "ClassMaps") -> None:
        """Add the sums of later images."""
        if len(later.total):
            self.total = self.total + later.total if len(self.total) else later.total

    def tensors(self) -> dict[str, Tensor]:
        """Return the sums."""
        return {"total": self.total}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        self.total = tensors["total"].to(self._settings.device)


def pool(maps: Tensor) -> Tensor:
    """Average maps (B, units, h, w) down to at most `SIDE` cells a side."""
    return F.adaptive_avg_pool2d(maps, pooled_grid((maps.shape[2], maps.shape[3])))


def pooled_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of the class maps of a layer with this grid.

    >>> pooled_grid((56, 5))
    (7, 5)
    """
    return min(SIDE, grid[0]), min(SIDE, grid[1])
