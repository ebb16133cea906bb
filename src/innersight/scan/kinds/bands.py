"""Images from all over a unit's range: a random sample of the images, the same one for every unit."""

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.seen import Batch, Seen, places_of_images

SAMPLE = 128
_PRIME = (1 << 31) - 1


class Bands:
    """The peaks of every unit on a uniform random sample of up to 128 images.

    Which images are in it is decided by a hash of their numbers: the least stay (bottom-k sampling, Cohen and Kaplan
    2007). Examples of any quantile of the peaks are read from it; a quantile is off by about 0.04 in rank.
    numbers : (n,), in the order of their hashes. peaks : (n, units) float32. places : (n, units) int32, y * w + x.
    """

    def __init__(self, room: Room) -> None:
        self.numbers = torch.zeros(0, dtype=torch.int64, device=room.device)
        self.peaks = torch.zeros(0, room.units, device=room.device)
        self.places = torch.zeros(0, room.units, dtype=torch.int32, device=room.device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._most = torch.iinfo(torch.int64).max

    def expect(self, before: "Bands") -> None:
        """Leave out images that cannot be in the sample, given those already in it."""
        self._most = min(self._most, before._most)

    def add(self, seen: Seen) -> None:
        """Take in one batch."""
        chosen = seen.batch.once(_below, self._most)
        if len(chosen):
            self._waiting.append((seen.batch.numbers[chosen], seen.peak[chosen], places_of_images(seen, chosen)))
            if sum(len(numbers) for numbers, _, _ in self._waiting) >= SAMPLE:
                self.settle()

    def settle(self) -> None:
        """Sort what waits into the sample."""
        if not self._waiting:
            return
        parts = [(self.numbers, self.peaks, self.places), *self._waiting]
        numbers, peaks, places = (torch.cat(part) for part in zip(*parts, strict=True))
        self._waiting = []
        order = priority(numbers).argsort()[:SAMPLE]
        self.numbers, self.peaks, self.places = numbers[order], peaks[order], places[order]
        self._limit()

    def merge(self, later: "Bands") -> None:
        """Take in the sample of later images."""
        later.settle()
        self._waiting.append((later.numbers, later.peaks, later.places))
        self.settle()

    def tensors(self) -> dict[str, Tensor]:
        """Return the sample."""
        self.settle()
        return {"numbers": self.numbers, "peaks": self.peaks, "places": self.places}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        device = self.numbers.device
        self.numbers, self.peaks, self.places = (tensors[key].to(device) for key in ("numbers", "peaks", "places"))
        self._limit()

    def _limit(self) -> None:
        if len(self.numbers) == SAMPLE:
            self._most = min(self._most, int(priority(self.numbers[-1:])))


def _below(batch: Batch, most: int) -> Tensor:
    return (priority(batch.numbers) < most).nonzero()[:, 0]


def priority(numbers: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return what puts image numbers below 2 ** 31 - 1 in a pseudo-random order, int64; no two are equal."""
    value = (numbers + 1) * 48271 % _PRIME
    value = (value ^ (value >> 15)) * 40692 % _PRIME
    # The exclusive or may make two alike: the number itself decides between them.
    return (value << 32) | numbers
