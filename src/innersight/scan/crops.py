"""Crops: the part of a picture that a unit sees at a place, in source pixels, with the unit's map as a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.image import Box, Picture, PictureError
from innersight.maps import compute
from innersight.model import Field, InputSpec, Model
from innersight.scan.dataset import Content, content, entry, rows_of
from innersight.scan.feed import Item, again
from innersight.scan.ledger import Record
from innersight.scan.likeness import alike, likeness

LEAST = 16  # pixels of the network's input; a crop is no smaller


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture read again. x : (C, H, W), the network's input. image : (H, W, 3) uint8, all of it.

    box : what the network sees of `image`, in its pixels.
    """

    x: Tensor
    image: np.ndarray
    box: Box


@dataclass(frozen=True, eq=False)
class Crop:
    """What a unit sees of one picture.

    pixels : (h, w, 3) uint8, the part `effective` of the picture. mask : (h, w) float32, 0 to 1, the unit's map there
    as a share of its peak, between places by bilinear interpolation. effective : where 95% of the gradient's energy
    lies, at least 16 pixels of the network's input a side. field : all that has any gradient. Boxes in source pixels.
    """

    pixels: np.ndarray
    mask: np.ndarray
    effective: Box
    field: Box

    def masked(self) -> np.ndarray:
        """Return the pixels with what the unit does not answer to darkened: below half of its peak, by degrees."""
        strength = np.clip(self.mask / 0.5, 0, 1)[:, :, None]
        shown: np.ndarray = np.rint(self.pixels * (0.3 + 0.7 * strength)).astype(np.uint8)
        return shown


def reopen(records: Sequence[Record], model: Model, dataset: Any) -> list[Opened]:
    """Read pictures of a scan again. Raises PictureError when one is gone, or another is in its place."""
    if not records:
        return []
    if dataset is None:
        contents = [_same(again(one.name), one).load() for one in records]
    else:
        rows = rows_of(dataset, [one.number for one in records])
        contents = [content(entry(rows[one.number], one.number)[0], one.name) for one in records]
    found = [_opened(one, model.input) for one in contents]
    hashes = likeness(model.input.denormalise(torch.stack([one.x for one in found]))).tolist()
    for record, now in zip(records, hashes, strict=True):
        # Rounding, of another type or device, may turn a bit of the same picture's.
        if now != record.likeness and not alike(now, record.likeness):
            raise PictureError(
                f"{printable(record.name)}: it is another picture than was scanned: "
                + ("scan anew" if dataset is None else "give the data set without shuffling and random changes")
            )
    return found


def _same(item: Item, record: Record) -> Item:
    """Return the item, after comparing its content where the scan kept a digest. Raises PictureError."""
    if record.digest and item.stamp() != record.stamp and item.digest() not in ("", record.digest):
        raise PictureError(f"{printable(record.name)}: changed since it was scanned: put it back, or scan anew")
    return item


def _opened(found: Content, spec: InputSpec) -> Opened:
    if isinstance(found, Picture):
        return Opened(found.tensor(spec), np.asarray(found.display(spec).convert("RGB")), found.box(spec))
    pixels = spec.denormalise(found[None].float())[0].clamp(0, 1).mul(255).round().to(torch.uint8)
    shown = pixels[list(spec.shown)].permute(1, 2, 0).cpu().numpy()
    return Opened(found.float(), np.ascontiguousarray(shown), Box(0, 0, spec.width, spec.height))


def boxes(field: Field, grid: tuple[int, int], place: tuple[int, int], spec: InputSpec, box: Box) -> tuple[Box, Box]:
    """Return the effective part and the whole of what a place sees, in source pixels.

    field : of the layer's middle place, in pixels of the network's input; at the border a box is moved into the picture
    and keeps its size. box : what the network sees of the picture.
    """
    sides = (spec.height, spec.width)
    middle = [field.middle[i] + (place[i] - (grid[i] - 1) // 2) * field.stride[i] for i in (0, 1)]
    effective = [_span(max(LEAST, field.effective[i]), middle[i], sides[i]) for i in (0, 1)]
    whole = [_span(field.size[i], middle[i], sides[i]) for i in (0, 1)]
    return _in_source(effective, sides, box), _in_source(whole, sides, box)


def crops(
    model: Model,
    layer: str,
    unit: int,
    field: Field,
    opened: Sequence[Opened],
    places: Sequence[tuple[int, int]],
    *,
    lowest: bool = False,
) -> list[Crop]:
    """Return what the unit sees at one place of each picture; one forward pass. lowest : its map counts downwards."""
    maps = compute(model, torch.stack([one.x for one in opened]), [layer])[layer][:, unit]
    found = []
    for one, place, own in zip(opened, places, maps, strict=True):
        effective, whole = boxes(field, (own.shape[0], own.shape[1]), place, model.input, one.box)
        height, width = one.image.shape[:2]
        top, left = max(0, round(effective.top)), max(0, round(effective.left))
        bottom, right = min(height, round(effective.bottom)), min(width, round(effective.right))
        if bottom <= top or right <= left:
            raise InnersightError(f"the place {place} of {layer} lies outside of a picture of {width}x{height} pixels")
        mask = _mask(-own if lowest else own, one.box, (top, bottom, left, right))
        found.append(Crop(one.image[top:bottom, left:right], mask, effective, whole))
    return found


def _span(size: int, middle: float, side: int) -> tuple[float, float]:
    size = min(size, side)
    first = min(max(0.0, middle - size / 2), side - size)
    return first, first + size


def _in_source(spans: Sequence[tuple[float, float]], sides: tuple[int, int], box: Box) -> Box:
    (top, bottom), (left, right) = spans
    y, x = box.height / sides[0], box.width / sides[1]
    return Box(box.left + left * x, box.top + top * y, box.left + right * x, box.top + bottom * y)


def _mask(map_: Float[Tensor, "h w"], box: Box, part: tuple[int, int, int, int]) -> np.ndarray:
    """Interpolate a map at the middles of the source pixels of `part`, as a share of its peak."""
    top, bottom, left, right = part
    y = (torch.arange(top, bottom) + 0.5 - box.top) / box.height * 2 - 1
    x = (torch.arange(left, right) + 0.5 - box.left) / box.width * 2 - 1
    spots = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], 2).float()
    share = (map_ / map_.max().clamp(min=torch.finfo(torch.float32).tiny)).clamp(0, 1)
    sampled = torch.nn.functional.grid_sample(
        share[None, None], spots[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, 0].numpy()
