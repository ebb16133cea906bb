"""The images at either end: on which a unit's map has its highest, and its lowest, places."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan.kinds.room import Room
from innersight.scan.likeness import NO_LIKENESS, beside, distinct, together
from innersight.scan.seen import Seen, places

NONE = torch.iinfo(torch.int64).min
LAST = (1 << 32) - 1  # image numbers are below this
FIRST, OFTEN = 32, 256  # images of a shard after which what waits is sorted in for the first time, and later


class Highest:
    """For each unit the `keep` images with the highest peak; of equal peaks the earlier image ranks first.

    Value and image are one integer that sorts like (value, -number), so that every order of merging gives the same.
    Of images that are nearly the same at most `alike` stay, the highest, so that no scene takes the place of others.
    What was once below the last of a full row stays out: a row whose scenes turn out to be one is one shorter, and
    what a worker gives does not depend on how much it knew of earlier images. For that reason, too, it is the number
    of images that says when candidates are sorted in. keys, hashes : (units, keep) int64. places : int32. floor :
    (units,) int64, the key of the last one kept.
    """

    lowest = False

    def __init__(self, room: Room) -> None:
        self.keys = torch.full((room.units, room.keep), NONE, device=room.device)
        self.hashes = torch.full_like(self.keys, NO_LIKENESS)
        self.places = torch.zeros_like(self.keys, dtype=torch.int32)
        self._alike = room.alike
        self._rise(self.keys[:, -1])
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._count, self._often = 0, FIRST

    def expect(self, before: "Highest") -> None:
        """Leave out what cannot be among the images kept, given what is known from earlier ones."""
        before.settle()
        self._rise(torch.maximum(self.floor, before.floor))

    def add(self, seen: Seen) -> None:
        """Take in one batch. Maps that hold anything but finite numbers are no candidates."""
        values = -seen.low if self.lowest else seen.peak
        # What only equals the floor comes after the image there, and loses.
        rows, units = (values > self._least).nonzero(as_tuple=True)
        if len(rows):
            keys = encode(values[rows, units], seen.batch.numbers[rows])
            found = places(seen, rows, units, lowest=self.lowest)
            self._waiting.append((units, keys, seen.batch.likeness[rows], found))
        self._count += len(values)
        if self._count >= self._often:
            self._often = OFTEN
            self.settle()

    def settle(self) -> None:
        """Sort what waits into what is kept."""
        self._count = 0
        if self._waiting:
            units, *rest = (torch.cat(part) for part in zip(*self._waiting, strict=True))
            self._waiting = []
            self._take(units, *rest, apart=False)

    def merge(self, later: "Highest") -> None:
        """Take in what another one kept."""
        self.settle()
        later.settle()
        there = (later.keys >= self.floor[:, None]) & (later.keys != NONE)
        units = there.nonzero()[:, 0]
        if len(units):
            self._take(units, later.keys[there], later.hashes[there], later.places[there], apart=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return the keys, highest first, perceptual hashes of the images, the places, y * w + x, and the floor."""
        self.settle()
        return {key: getattr(self, key) for key in ("keys", "hashes", "places", "floor")}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what was stored."""
        keys, hashes, places_ = (tensors[key].to(self.keys.device) for key in ("keys", "hashes", "places"))
        self.keys, self.hashes, self.places = keys, hashes, places_
        self._rise(tensors["floor"].to(self.keys.device))

    def _take(self, units: Tensor, keys: Tensor, hashes: Tensor, places_: Tensor, *, apart: bool) -> None:
        """Sort images in, one for each of `units`. apart : those of one unit are known to be no more than `alike`."""
        counts = torch.bincount(units, minlength=len(self.keys))
        touched = counts > 0
        row = (touched.cumsum(0) - 1)[units]
        old = self.hashes[touched]
        some = beside(row, hashes, old)
        if not apart:
            some |= together(row, keys & LAST, hashes, len(old))
        order = units.argsort(stable=True)
        rank = torch.empty_like(units)
        rank[order] = torch.arange(len(units), device=units.device) - (counts.cumsum(0) - counts)[units[order]]
        into = row, self.keys.shape[1] + rank
        spare = int(counts.max())
        # Keys are all different, except for NONE: which of those comes first does not matter.
        keys, best = _filled(self.keys[touched], spare, NONE, into, keys).sort(1, descending=True)
        hashes = _filled(old, spare, NO_LIKENESS, into, hashes).gather(1, best)
        places_ = _filled(self.places[touched], spare, 0, into, places_).gather(1, best)
        if some.any():
            stay = distinct(hashes[some], self._alike)
            for values, nothing in ((keys, NONE), (hashes, NO_LIKENESS), (places_, 0)):
                values[some] = values[some].gather(1, stay.clamp(min=0)).masked_fill(stay < 0, nothing)
        keep = self.keys.shape[1]
        self.keys[touched], self.hashes[touched], self.places[touched] = (v[:, :keep] for v in (keys, hashes, places_))
        self._rise(torch.maximum(self.floor, self.keys[:, -1]))

    def _rise(self, floor: Tensor) -> None:
        self.floor, self._least = floor, decode(floor)[0]


class Lowest(Highest):
    """For each unit the `keep` images with the lowest place; of equal ones the earlier image ranks first."""

    lowest = True


def _filled(old: Tensor, spare: int, nothing: int, into: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    """Return `old` with `spare` more columns that hold `nothing`, and `values` put in."""
    wide = torch.nn.functional.pad(old, (0, spare), value=nothing)
    wide[into] = values
    return wide


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
