"""Pictures from all over a unit's range: a random sample of the pictures, the same one for every unit."""

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.seen import Seen, places_of_pictures

SAMPLE = 128
_PRIME = (1 << 31) - 1


class Bands:
    """The peaks of every unit on a uniform random sample of up to 128 pictures.

    Which pictures are in it is decided by a hash of their numbers: the least stay (bottom-k sampling, Cohen and Kaplan
    2007). Examples of any quantile of the peaks are read from it; a quantile is off by about 0.04 in rank.
    numbers : (n,), in the order of their hashes. peaks : (n, units) float32. places : (n, units) int32, y * w + x.
    """

    def __init__(self, room: Room) -> None:
        self.numbers = torch.zeros(0, dtype=torch.int64, device=room.device)
        self.peaks = torch.zeros(0, room.units, device=room.device)
        self.places = torch.zeros(0, room.units, dtype=torch.int32, device=room.device)
        self._most = torch.full((1,), torch.iinfo(torch.int64).max, device=room.device)

    def expect(self, before: "Bands") -> None:
        """Leave out pictures that cannot be in the sample, given those already in it."""
        self._most = torch.minimum(self._most, before._most)

    def add(self, seen: Seen) -> None:
        """Take in one batch."""
        chosen = priority(seen.numbers) < self._most
        if bool(chosen.any()):
            self._take(seen.numbers[chosen], seen.peak[chosen], places_of_pictures(seen, chosen))

    def merge(self, later: "Bands") -> None:
        """Take in the sample of later pictures."""
        self._take(later.numbers, later.peaks, later.places)

    def tensors(self) -> dict[str, Tensor]:
        """Return the sample."""
        return {"numbers": self.numbers, "peaks": self.peaks, "places": self.places}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        device = self.numbers.device
        self.numbers, self.peaks, self.places = (tensors[key].to(device) for key in ("numbers", "peaks", "places"))
        self._full()

    def _take(self, numbers: Tensor, peaks: Tensor, places: Tensor) -> None:
        numbers = torch.cat([self.numbers, numbers])
        order = priority(numbers).argsort()[:SAMPLE]
        self.numbers = numbers[order]
        self.peaks = torch.cat([self.peaks, peaks])[order]
        self.places = torch.cat([self.places, places])[order]
        self._full()

    def _full(self) -> None:
        if len(self.numbers) == SAMPLE:
            self._most = torch.minimum(self._most, priority(self.numbers[-1:]))


def priority(numbers: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return what puts picture numbers below 2 ** 31 - 1 in a pseudo-random order, int64; no two are equal."""
    value = (numbers + 1) * 48271 % _PRIME
    value = (value ^ (value >> 15)) * 40692 % _PRIME
    # The exclusive or may make two alike: the number itself decides between them.
    return (value << 32) | numbers
