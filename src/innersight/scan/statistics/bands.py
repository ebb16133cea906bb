"""Images from all over a unit's range: a random sample of the images, the same one for every unit."""

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from innersight.scan.layer_batch import Batch, LayerBatch, locations_of_images
from innersight.scan.statistics import LayerSettings, statistics

SAMPLE = 128
_PRIME = (1 << 31) - 1


@statistics.register(
    "Random sample of images",
    source="Cohen and Kaplan 2007, Summarizing data using bottom-k sketches",
    use="What does each unit respond to in the middle of its range?",
)
def bands(settings: LayerSettings) -> "Bands":
    """Keep the peaks of every unit on a uniform random sample of up to 128 images."""
    return Bands(settings)


class Bands:
    """The peaks of every unit on a uniform random sample of up to 128 images.

    Which images are in it is decided by a hash of their numbers: those with the least hash are kept (bottom-k sampling,
    Cohen and Kaplan 2007). Examples of any quantile of the peaks are read from it, to about 0.04 in rank.
    numbers : (n,), in the order of their hashes. peaks : (n, units) float32. locations : (n, units) int32, y * w + x.
    """

    def __init__(self, settings: LayerSettings) -> None:
        self.numbers = torch.zeros(0, dtype=torch.int64, device=settings.device)
        self.peaks = torch.zeros(0, settings.units, device=settings.device)
        self.locations = torch.zeros(0, settings.units, dtype=torch.int32, device=settings.device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._bound = torch.iinfo(torch.int64).max

    def prune(self, before: "Bands") -> None:
        """Reject images that cannot be in the sample, given those already in it."""
        self._bound = min(self._bound, before._bound)

    def add(self, batch: LayerBatch) -> None:
        """Add a batch."""
        chosen = batch.images.cached(_below, self._bound)
        if len(chosen):
            self._waiting.append((batch.images.numbers[chosen], batch.peak[chosen], locations_of_images(batch, chosen)))
            if sum(len(numbers) for numbers, _, _ in self._waiting) >= SAMPLE:
                self.settle()

    def settle(self) -> None:
        """Sort the candidates into the sample."""
        if not self._waiting:
            return
        parts = [(self.numbers, self.peaks, self.locations), *self._waiting]
        numbers, peaks, locations = (torch.cat(part) for part in zip(*parts, strict=True))
        self._waiting = []
        order = priority(numbers).argsort()[:SAMPLE]
        self.numbers, self.peaks, self.locations = numbers[order], peaks[order], locations[order]
        self._limit()

    def merge(self, later: "Bands") -> None:
        """Add the sample of later images."""
        later.settle()
        self._waiting.append((later.numbers, later.peaks, later.locations))
        self.settle()

    def tensors(self) -> dict[str, Tensor]:
        """Return the sample."""
        self.settle()
        return {"numbers": self.numbers, "peaks": self.peaks, "locations": self.locations}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        device = self.numbers.device
        self.numbers, self.peaks, self.locations = (
            tensors[key].to(device) for key in ("numbers", "peaks", "locations")
        )
        self._limit()

    def _limit(self) -> None:
        if len(self.numbers) == SAMPLE:
            self._bound = min(self._bound, int(priority(self.numbers[-1:])))


def _below(images: Batch, bound: int) -> Tensor:
    return (priority(images.numbers) < bound).nonzero()[:, 0]


def priority(numbers: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return keys that put image numbers below 2 ** 31 - 1 in a pseudo-random order, int64; no two are equal."""
    value = (numbers + 1) * 48271 % _PRIME
    value = (value ^ (value >> 15)) * 40692 % _PRIME
    # The exclusive or may make two equal: the number itself decides between them.
    return (value << 32) | numbers
