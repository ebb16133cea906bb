"""What one layer does over one batch of images, reduced once for every statistic."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 1 << 19  # values; an image's maps of more than this are reduced alone, while they are in the cache
SMALL = 256  # locations; to find the highest one of larger maps takes less time map by map
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Batch:
    """The images that pass the network together, in the order of their numbers.

    numbers : (B,) int64. classes : (B,) int64, -1 where unknown. phash : (B,) int64, perceptual hashes, see
    `innersight.scan.perceptual_hash`. repeated : whether any is a near-duplicate of an earlier image of its shard; True
    where that was not looked up. peaks : (B, units) of each layer reached so far, as in `LayerBatch`.
    """

    numbers: Int[Tensor, " B"]
    classes: Int[Tensor, " B"]
    phash: Int[Tensor, " B"]
    repeated: bool = True
    peaks: dict[str, Float[Tensor, "B units"]] = field(default_factory=dict, repr=False)
    _made: dict[object, object] = field(default_factory=dict, repr=False)

    def cached(self, make: Callable[..., T], *sizes: int) -> T:
        """Return `make(batch, *sizes)`, computed once for all layers."""
        key = make, sizes
        if key not in self._made:
            self._made[key] = make(self, *sizes)
        return self._made[key]  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """The maps of one layer over a batch, and what all statistics need of them.

    maps : (B, h, w, units), a view. peak, low, mean : (B, units) float32, highest and lowest value and mean over
    locations, raw; -inf, +inf and 0 for a map that holds anything but finite numbers. finite : (B, units), whether it
    holds none. clean : True says that all of them are finite; False does not say that one is not.
    high_columns, low_columns : (B, w, units), highest and lowest value of each column, to find locations by.
    """

    images: Batch
    maps: Tensor
    peak: Tensor
    low: Tensor
    mean: Tensor
    finite: Tensor
    clean: bool
    high_columns: Tensor
    low_columns: Tensor

    @property
    def locations_per_map(self) -> int:
        """How many locations a map has."""
        return self.maps.shape[1] * self.maps.shape[2]

    def values(self, chosen: Int[Tensor, "B n"]) -> Float[Tensor, "m units"]:
        """Return all units at locations (y * w + x) of each image, in the order of `chosen.flatten()`."""
        first = torch.arange(len(chosen), device=chosen.device)[:, None]
        if self.maps.is_contiguous():
            # Whole rows of memory are copied: five times as fast as indexing.
            return self.maps.flatten(0, 2).index_select(0, (first * self.locations_per_map + chosen).flatten())
        return self.maps.flatten(1, 2)[first, chosen].flatten(0, 1)


def reduced(activation: Float[Tensor, "B units h w"], batch: Batch) -> LayerBatch:
    """Reduce the activation of a layer: three passes over it, along the axis that is contiguous in memory."""
    maps = activation.permute(0, 2, 3, 1)
    if maps.dtype != torch.float32:
        maps = maps.float()
    size = max(1, CHUNK // max(1, maps[0].numel()))
    parts = [_reduced(part) for part in torch.split(maps, size)]
    high, low, total = parts[0] if len(parts) == 1 else (torch.cat(some) for some in zip(*parts, strict=True))
    mean = total / (maps.shape[1] * maps.shape[2])
    peak, least = high.amax(1), low.amin(1)
    # For nearly every batch this one number shows that all maps are finite.
    clean = bool(mean.sum().isfinite())
    finite = torch.ones_like(mean, dtype=torch.bool) if clean else mean.isfinite()
    if not clean:
        peak, least = peak.masked_fill(~finite, -torch.inf), least.masked_fill(~finite, torch.inf)
        mean = mean.masked_fill(~finite, 0.0)
    return LayerBatch(batch, maps, peak, least, mean, finite, clean, high, low)


def locations(
    batch: LayerBatch, rows: Int[Tensor, " n"], units: Int[Tensor, " n"], *, lowest: bool = False
) -> Int[Tensor, " n"]:
    """Return where the maps of `units` on the batch's images `rows` are highest (or lowest), as y * w + x, int32.

    Of equal locations the first column, and in it the first row.
    """
    columns = (batch.low_columns if lowest else batch.high_columns).transpose(1, 2)[rows, units]
    x = columns.argmin(1) if lowest else columns.argmax(1)
    column = batch.maps.permute(0, 3, 2, 1)[rows, units, x]
    y = column.argmin(1) if lowest else column.argmax(1)
    return (y * batch.maps.shape[2] + x).to(torch.int32)


def locations_of_images(batch: LayerBatch, rows: Int[Tensor, " n"]) -> Int[Tensor, "n units"]:
    """Return where every unit is highest on the batch's images `rows`, as y * w + x, int32; see `locations`."""
    _, height, width, units = batch.maps.shape
    if len(rows) == len(batch.peak) and height * width <= SMALL:
        # All maps are looked at: along the units, which are next to each other in memory.
        x = batch.high_columns.max(1).indices
        columns = batch.maps.gather(2, x[:, None, None].expand(-1, height, -1, -1))[:, :, 0]
        return (columns.max(1).indices * width + x).to(torch.int32)
    found = locations(batch, rows.repeat_interleave(units), torch.arange(units, device=rows.device).repeat(len(rows)))
    return found.view(len(rows), units)


def _reduced(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (B, w, units) highest and lowest of each column, and (B, units) sums, of maps (B, h, w, units)."""
    if maps.stride(3) == 1:
        return maps.amax(1), maps.amin(1), maps.sum((1, 2))
    plain = maps.permute(0, 3, 1, 2)
    return plain.amax(2).transpose(1, 2), plain.amin(2).transpose(1, 2), plain.sum((2, 3))
