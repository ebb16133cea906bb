"""The images with the highest and with the lowest values of every unit."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.scan.layer_batch import LayerBatch, locations
from innersight.scan.perceptual_hash import NO_HASH, beside, distinct, together
from innersight.scan.statistics import LayerSettings, statistics

NONE = torch.iinfo(torch.int64).min
LAST = (1 << 32) - 1  # image numbers are below this
FIRST, OFTEN = 32, 256  # images of a shard after which candidates are sorted in, first and from then on


@statistics.register("Images with the highest peaks", use="What does each unit respond to most?")
def highest(settings: LayerSettings) -> "Extremes":
    """Keep for each unit the images on which its map has the highest peak."""
    return Extremes(settings, sign=1)


@statistics.register("Images with the lowest values", use="What does each unit respond to least?")
def lowest(settings: LayerSettings) -> "Extremes":
    """Keep for each unit the images on which its map has the lowest value."""
    return Extremes(settings, sign=-1)


class Extremes:
    """For each unit the `keep` images with the most extreme values; of equal values the earlier image ranks first.

    sign : 1 for the highest values, -1 for the lowest, which are held with their sign turned.

    Value and image are one integer that sorts like (value, -number), so that every order of merging gives the same.
    Of near-duplicates at most `max_duplicates` are kept, the most extreme ones. A rejected candidate is never
    reconsidered: rows may end short, and what a worker returns does not depend on how much it knew of earlier images.
    For the same reason candidates are sorted in after a fixed number of images. keys, hashes : (units, keep) int64.
    locations : int32. floor : (units,) int64, the key of the last one kept.
    """

    def __init__(self, settings: LayerSettings, *, sign: int) -> None:
        self._sign = sign
        self.keys = torch.full((settings.units, settings.keep), NONE, device=settings.device)
        self.hashes = torch.full_like(self.keys, NO_HASH)
        self.locations = torch.zeros_like(self.keys, dtype=torch.int32)
        self._max_duplicates = settings.max_duplicates
        self._rise(self.keys[:, -1])
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._count, self._often, self._repeated = 0, FIRST, False

    def prune(self, before: "Extremes") -> None:
        """Reject candidates that cannot be among the images kept, given those kept of earlier images."""
        before.settle()
        self._rise(torch.maximum(self.floor, before.floor))

    def add(self, batch: LayerBatch) -> None:
        """Add a batch. Maps that hold anything but finite numbers are no candidates."""
        values = batch.peak if self._sign > 0 else -batch.low
        # A value equal to the floor belongs to a later image, which ranks behind it.
        rows, units = (values > self._least).nonzero(as_tuple=True)
        if len(rows):
            keys = encode(values[rows, units], batch.images.numbers[rows])
            found = locations(batch, rows, units, lowest=self._sign < 0)
            self._waiting.append((units, keys, batch.images.phash[rows], found))
            self._repeated |= batch.images.repeated
        self._count += len(values)
        if self._count >= self._often:
            self._often = OFTEN
            self.settle()

    def settle(self) -> None:
        """Sort the candidates into the images kept."""
        self._count = 0
        if self._waiting:
            units, *rest = (torch.cat(part) for part in zip(*self._waiting, strict=True))
            self._waiting = []
            # Where no image was like an earlier one of the shard, none of those waiting is like one kept or another.
            self._take(units, *rest, apart=False, alike=self._repeated)
            self._repeated = False

    def merge(self, later: "Extremes") -> None:
        """Add the images that another one kept."""
        self.settle()
        later.settle()
        present = (later.keys >= self.floor[:, None]) & (later.keys != NONE)
        if not bool((self.keys[:, 0] != NONE).any()):
            self.keys = later.keys.where(present, NONE)
            self.hashes, self.locations = later.hashes.where(present, NO_HASH), later.locations.where(present, 0)
            self._rise(torch.maximum(self.floor, self.keys[:, -1]))
            return
        units = present.nonzero()[:, 0]
        if len(units):
            self._take(
                units, later.keys[present], later.hashes[present], later.locations[present], apart=True, alike=True
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return the keys, highest first, perceptual hashes of the images, the locations, y * w + x, and the floor."""
        self.settle()
        return {key: getattr(self, key) for key in ("keys", "hashes", "locations", "floor")}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what was stored."""
        keys, hashes, locations_ = (tensors[key].to(self.keys.device) for key in ("keys", "hashes", "locations"))
        self.keys, self.hashes, self.locations = keys, hashes, locations_
        self._rise(tensors["floor"].to(self.keys.device))

    def _take(
        self, units: Tensor, keys: Tensor, hashes: Tensor, locations_: Tensor, *, apart: bool, alike: bool
    ) -> None:
        """Sort images in, one for each of `units`. apart : those of one unit hold at most `max_duplicates` alike.

        alike : whether any may be a near-duplicate of another one or of those kept.
        """
        counts = torch.bincount(units, minlength=len(self.keys))
        touched = counts > 0
        row = (touched.cumsum(0) - 1)[units]
        old = self.hashes[touched]
        some = beside(row, hashes, old) if alike else None
        if some is not None and not apart:
            some |= together(row, keys & LAST, hashes, len(old))
        order = units.argsort(stable=True)
        rank = torch.empty_like(units)
        rank[order] = torch.arange(len(units), device=units.device) - (counts.cumsum(0) - counts)[units[order]]
        into = row, self.keys.shape[1] + rank
        spare = int(counts.max())
        # Keys are all different, except for NONE: which of those comes first does not matter.
        keys, best = _filled(self.keys[touched], spare, NONE, into, keys).sort(1, descending=True)
        hashes = _filled(old, spare, NO_HASH, into, hashes).gather(1, best)
        locations_ = _filled(self.locations[touched], spare, 0, into, locations_).gather(1, best)
        if some is not None and some.any():
            stay = distinct(hashes[some], self._max_duplicates)
            for values, nothing in ((keys, NONE), (hashes, NO_HASH), (locations_, 0)):
                values[some] = values[some].gather(1, stay.clamp(min=0)).masked_fill(stay < 0, nothing)
        keep = self.keys.shape[1]
        self.keys[touched], self.hashes[touched], self.locations[touched] = (
            v[:, :keep] for v in (keys, hashes, locations_)
        )
        self._rise(torch.maximum(self.floor, self.keys[:, -1]))

    def _rise(self, floor: Tensor) -> None:
        self.floor, self._least = floor, decode(floor)[0]


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
