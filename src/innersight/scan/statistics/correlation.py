"""Which units respond to the same images: the correlation of their peaks over all images."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.scan.layer_batch import LayerBatch
from innersight.scan.statistics import LayerSettings, statistics

WAITING = 512  # images whose peaks are collected for one matrix product


@dataclass(frozen=True, eq=False)
class PeakMoments:
    """Moments of the peaks of two layers over the same images, float64.

    count : (), images. mean, other_mean : (units,) and (others,). square, other_square : sums of squared deviations
    from them. product : (units, others), sums of products of these deviations.
    """

    count: Tensor
    mean: Tensor
    other_mean: Tensor
    square: Tensor
    other_square: Tensor
    product: Tensor


@statistics.register(
    "Correlation of peaks",
    source="Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance",
    use="Which units respond to the same images?",
    requested_by="correlate",
)
def correlation(settings: LayerSettings) -> "Correlation":
    """Keep the moments of a layer's peaks with those of every layer it is correlated with."""
    return Correlation(settings)


class Correlation:
    """The moments of a layer's peaks with those of each layer in `settings.partners`, which may be the layer itself.

    An image on which any unit of either layer is not finite is left out of their moments. Those of some images are
    taken about their own mean, and moments of two sets of images are merged without loss of digits (Chan, Golub and
    LeVeque 1983, "Algorithms for computing the sample variance").
    """

    def __init__(self, settings: LayerSettings) -> None:
        self._device = settings.device
        self.pairs: dict[str, PeakMoments] = {}
        self._waiting: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in settings.partners}
        self._count = 0

    def add(self, batch: LayerBatch) -> None:
        """Add a batch."""
        for name, waiting in self._waiting.items():
            waiting.append((batch.peak, batch.images.peaks[name]))
        self._count += len(batch.peak)
        if self._count >= WAITING:
            self.settle()

    def settle(self) -> None:
        """Turn the collected peaks into moments."""
        for name, waiting in self._waiting.items():
            if waiting:
                own, other = (torch.cat(part) for part in zip(*waiting, strict=True))
                self._take(name, moments(own, other))
                waiting.clear()
        self._count = 0

    def merge(self, later: "Correlation") -> None:
        """Add the moments of later images."""
        self.settle()
        later.settle()
        for name, pair in later.pairs.items():
            self._take(name, pair)

    def tensors(self) -> dict[str, Tensor]:
        """Return the moments by `PARTNER/name`."""
        self.settle()
        return {f"{name}/{key}": value for name, pair in self.pairs.items() for key, value in vars(pair).items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        self.pairs = {
            name: PeakMoments(**{key: value.to(self._device) for key, value in vars(stored(tensors, name)).items()})
            for name in self._waiting
            if f"{name}/count" in tensors
        }

    def _take(self, name: str, later: PeakMoments) -> None:
        self.pairs[name] = merged(self.pairs[name], later) if name in self.pairs else later


def stored(tensors: Mapping[str, Tensor], partner: str) -> PeakMoments:
    """Return the moments with one partner from what `Correlation.tensors` gave."""
    return PeakMoments(**{key: tensors[f"{partner}/{key}"] for key in PeakMoments.__dataclass_fields__})


def moments(own: Float[Tensor, "n units"], other: Float[Tensor, "n others"]) -> PeakMoments:
    """Return the moments of the peaks of two layers on the same images."""
    whole = own.isfinite().all(1) & other.isfinite().all(1)
    first, second = own[whole].double(), other[whole].double()
    count = whole.sum().double()
    mean, other_mean = first.sum(0) / count.clamp(min=1), second.sum(0) / count.clamp(min=1)
    first, second = first - mean, second - other_mean
    return PeakMoments(count, mean, other_mean, first.square().sum(0), second.square().sum(0), first.T @ second)


def merged(one: PeakMoments, later: PeakMoments) -> PeakMoments:
    """Return the moments over the images of both."""
    count = one.count + later.count
    share = later.count / count.clamp(min=1)
    step, other_step = later.mean - one.mean, later.other_mean - one.other_mean
    weight = one.count * share
    return PeakMoments(
        count,
        one.mean + share * step,
        one.other_mean + share * other_step,
        one.square + later.square + weight * step.square(),
        one.other_square + later.other_square + weight * other_step.square(),
        one.product + later.product + weight * torch.outer(step, other_step),
    )


def pearson(pair: PeakMoments) -> Float[Tensor, "units others"]:
    """Return Pearson's correlation, -1 to 1, float32; NaN for a unit whose peak is the same on every image."""
    spread = torch.outer(pair.square.sqrt(), pair.other_square.sqrt())
    found: Tensor = (pair.product / spread).clamp(-1, 1).float()
    return found.masked_fill(spread == 0, torch.nan)
