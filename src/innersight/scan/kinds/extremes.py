"""The pictures at either end: on which a unit's map has its highest, and its lowest, places."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.seen import Seen, places

NONE = torch.iinfo(torch.int64).min
LAST = (1 << 32) - 1  # picture numbers are below this


class Highest:
    """For each unit the `keep` pictures with the highest peak; of equal peaks the earlier picture ranks first.

    Value and picture are one integer that sorts like (value, -number), so that every order of merging gives the same.
    """

    lowest = False

    def __init__(self, room: Room) -> None:
        self.keys = torch.full((room.units, room.keep), NONE, device=room.device)
        self.places = torch.zeros(room.units, room.keep, dtype=torch.int32, device=room.device)
        self.floor = decode(self.keys[:, -1])[0]
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._count = 0

    def expect(self, before: "Highest") -> None:
        """Leave out what cannot be among the pictures kept, given what is known from earlier ones."""
        before.settle()
        self.floor = torch.maximum(self.floor, before.floor)

    def add(self, seen: Seen) -> None:
        """Take in one batch. Maps that hold anything but finite numbers are no candidates."""
        values = -seen.low if self.lowest else seen.peak
        # What only equals the floor comes after the picture there, and loses.
        rows, units = (values > self.floor).nonzero(as_tuple=True)
        if not len(rows):
            return
        found = places(seen, rows, units, lowest=self.lowest)
        self._waiting.append((units, values[rows, units], seen.batch.numbers[rows], found))
        self._count += len(rows)
        if self._count > self.keys.numel() // 2:
            self.settle()

    def settle(self) -> None:
        """Sort what waits into what is kept."""
        if not self._waiting:
            return
        units, values, numbers, places_ = (torch.cat(part) for part in zip(*self._waiting, strict=True))
        keys = encode(values, numbers)
        self._waiting, self._count = [], 0
        units, order = units.sort()
        counts = torch.bincount(units, minlength=len(self.keys))
        rank = torch.arange(len(units), device=units.device) - (counts.cumsum(0) - counts)[units]
        touched = counts > 0
        row = (touched.cumsum(0) - 1)[units]
        shape = int(touched.sum()), int(counts.max())
        fresh = torch.full(shape, NONE, device=keys.device)
        fresh_places = torch.zeros(shape, dtype=torch.int32, device=keys.device)
        fresh[row, rank] = keys[order]
        fresh_places[row, rank] = places_[order]
        self._take(touched, fresh, fresh_places)

    def merge(self, later: "Highest") -> None:
        """Take in what another one kept."""
        self.settle()
        later.settle()
        self._take(torch.ones_like(self.keys[:, 0], dtype=torch.bool), later.keys, later.places)

    def tensors(self) -> dict[str, Tensor]:
        """Return the keys, highest first, and the places, y * w + x."""
        self.settle()
        return {"keys": self.keys, "places": self.places}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        self.keys, self.places = (tensors[key].to(self.keys.device) for key in ("keys", "places"))
        self.floor = decode(self.keys[:, -1])[0]

    def _take(self, touched: Tensor, keys: Tensor, places_: Tensor) -> None:
        keys = torch.cat([self.keys[touched], keys], 1)
        # Keys are all different, except for NONE: which of those is taken does not matter.
        best, order = keys.topk(self.keys.shape[1], dim=1)
        self.keys[touched] = best
        self.places[touched] = torch.cat([self.places[touched], places_], 1).gather(1, order)
        self.places.masked_fill_(self.keys == NONE, 0)
        self.floor = torch.maximum(self.floor, decode(self.keys[:, -1])[0])


class Lowest(Highest):
    """For each unit the `keep` pictures with the lowest place; of equal ones the earlier picture ranks first."""

    lowest = True


def encode(values: Float[Tensor, "*n"], numbers: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return integers that sort like (value, -number)."""
    bits = (values + 0.0).view(torch.int32)  # the sum makes -0 the same as 0
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (bits.long() << 32) | (LAST - numbers)


def decode(keys: Int[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Int[Tensor, "*n"]]:
    """Return values and numbers; -inf and -1 where there is none."""
    bits = (keys >> 32).to(torch.int32)
    values = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)
    none = keys == NONE
    return values.masked_fill(none, -torch.inf), (LAST - (keys & LAST)).masked_fill(none, -1)
