"""Which classes excite a unit: the peaks of each class, and how selective the unit is."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan.layer_batch import Batch, LayerBatch
from innersight.scan.statistics import LayerSettings, statistics

Z = 1.959964  # of a 95% interval


@statistics.register(
    "Peaks by class",
    source="Morcos et al. 2018, arXiv:1803.06959",
    use="Which class does each unit respond to, and how selectively?",
)
def classes(settings: LayerSettings) -> "ClassSums":
    """Count, sum and sum of squares of the peaks of every unit, by class."""
    return ClassSums(settings)


class ClassSums:
    """Count, sum and sum of squares of the peaks of every unit, by class; a negative peak counts as 0.

    count : (classes, units) int64. total, square : (classes, units) float64. All are empty until an image of a known
    class comes.
    """

    def __init__(self, settings: LayerSettings) -> None:
        self._shape = settings.classes, settings.units
        self.count = torch.zeros(0, settings.units, dtype=torch.int64, device=settings.device)
        self.total, self.square = (
            torch.zeros(0, settings.units, dtype=torch.float64, device=settings.device) for _ in "ab"
        )

    def add(self, batch: LayerBatch) -> None:
        """Add the images of the batch whose class is known."""
        rows = batch.images.cached(known)
        if not len(rows):
            return
        self._grow()
        classes = batch.images.classes[rows]
        peak = batch.peak[rows].clamp(min=0).double()
        self.count.index_add_(0, classes, batch.finite[rows].long())
        self.total.index_add_(0, classes, peak)
        self.square.index_add_(0, classes, peak.square())

    def merge(self, later: "ClassSums") -> None:
        """Add the sums of later images."""
        if len(later.count):
            self._grow()
            self.count, self.total, self.square = (
                mine + other
                for mine, other in zip(
                    (self.count, self.total, self.square), (later.count, later.total, later.square), strict=True
                )
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the sums."""
        return {"count": self.count, "total": self.total, "square": self.square}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        device = self.count.device
        self.count, self.total, self.square = (tensors[key].to(device) for key in ("count", "total", "square"))

    def _grow(self) -> None:
        if not len(self.count):
            self.count = self.count.new_zeros(self._shape)
            self.total, self.square = (self.total.new_zeros(self._shape) for _ in "ab")


def known(images: Batch) -> Int[Tensor, " n"]:
    """Return which images of a batch are of a class of the model."""
    return (images.classes >= 0).nonzero()[:, 0]


def selectivity(
    count: Tensor, total: Float[Tensor, "classes units"], square: Float[Tensor, "classes units"]
) -> dict[str, Tensor]:
    """Return how selective each unit is, from the sums of `ClassSums`: each (units,), NaN with fewer than two classes.

    best : the class with the highest mean peak, -1 where there is none. index : (best - rest) / (best + rest) of that
    mean and the mean over the other classes' means, 0 to 1 (Morcos et al. 2018, arXiv:1803.06959). low, high : its 95%
    interval by the delta method; it does not account for the best class having been picked. share : of the variance of
    the peaks, what the class explains beyond chance, 0 to 1 (omega squared, Hays 1963).
    """
    present = count > 0
    number = present.sum(0)
    size = count.clamp(min=1)
    mean = total / size
    within = (square - total * mean).clamp(min=0)
    error = within / (size - 1).clamp(min=1) / size
    best = mean.masked_fill(~present, -torch.inf).argmax(0)
    one = torch.nn.functional.one_hot(best, len(mean)).T.bool()
    others = present & ~one
    top, rest = mean.gather(0, best[None])[0], mean.where(others, 0).sum(0) / (number - 1)
    top_error = error.gather(0, best[None])[0]
    rest_error = error.where(others, 0).sum(0) / (number - 1).square()
    both = top + rest
    index = torch.where(both > 0, (top - rest) / both, torch.zeros_like(both))
    spread = 2 * (rest.square() * top_error + top.square() * rest_error).sqrt() / both.square()
    spread = torch.where(both > 0, spread, torch.zeros_like(both))
    few = (count.where(present, 2) < 2).any(0)  # no spread is known of a class with one image
    all_ = count.sum(0)
    middle = total.sum(0) / all_.clamp(min=1)
    between = (count * (mean - middle).square()).sum(0)
    noise = within.sum(0) / (all_ - number).clamp(min=1)
    overall = between + within.sum(0) + noise
    share = torch.where(overall > 0, (between - (number - 1) * noise) / overall, torch.zeros_like(overall))
    nothing = number < 2
    return {
        "best": best.masked_fill(number < 1, -1),
        "index": index.masked_fill(nothing, torch.nan).float(),
        "low": (index - Z * spread).clamp(0, 1).masked_fill(nothing | few, torch.nan).float(),
        "high": (index + Z * spread).clamp(0, 1).masked_fill(nothing | few, torch.nan).float(),
        "share": share.clamp(0, 1).masked_fill(nothing | (all_ <= number), torch.nan).float(),
    }
