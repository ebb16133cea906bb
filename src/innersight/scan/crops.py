"""Crops: the part of an image that a unit sees at a location, in source pixels, with the unit's map as a mask."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor

from innersight.activations import compute
from innersight.boxes import PixelBox
from innersight.brief import brief
from innersight.errors import printable
from innersight.image import Image, ImageError
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, again, ahead, chosen
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.scan.perceptual_hash import near_duplicates, perceptual_hash
from innersight.scan.record import Record

LEAST = 16  # pixels of the network's input; a crop is no smaller


@dataclass(frozen=True, eq=False)
class ReopenedImage:
    """An image read again. x : (C, H, W), the network's input. image : (H, W, 3) uint8, all of it.

    box : what the network sees of `image`, in its pixels.
    """

    x: Tensor
    image: np.ndarray
    box: PixelBox


@dataclass(frozen=True, eq=False)
class Crop:
    """The part of an image that a unit responds to.

    pixels : (h, w, 3) uint8, the part `effective` of the image. mask : (h, w) float32, 0 to 1, the unit's map there
    as a share of its peak, between locations by bilinear interpolation. effective : where 95% of the gradient's energy
    lies, at least 16 pixels of the network's input a side. field : all that has any gradient. Boxes in source pixels.
    """

    pixels: np.ndarray
    mask: np.ndarray
    effective: PixelBox
    field: PixelBox

    __repr__ = brief

    def masked(self) -> np.ndarray:
        """Return the pixels, darkened where the unit is below half of its peak."""
        return darkened(self.pixels, self.mask)


def darkened(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, 3) uint8, darkened where a mask (h, w), 0 to 1, is below 0.5."""
    strength = np.clip(mask / 0.5, 0, 1)[:, :, None]
    shown: np.ndarray = np.rint(pixels * (0.3 + 0.7 * strength)).astype(np.uint8)
    return shown


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return pixels or a mask as a square, bilinear."""
    return np.asarray(PILImage.fromarray(pixels).resize((side, side), PILImage.Resampling.BILINEAR))


def reopen(
    records: Sequence[Record], model: Model, dataset: Any, find: Callable[[str], ImageEntry] = again
) -> list[ReopenedImage]:
    """Read images of a scan again; see `reopened`. Raises ImageError when one is gone, or another is in its place."""
    found = {record.number: one for record, one in reopened(records, model, dataset, find=find)}
    return [found[record.number] for record in records]


def reopened(
    records: Sequence[Record], model: Model, dataset: Any, workers: int = 0, find: Callable[[str], ImageEntry] = again
) -> Generator[tuple[Record, ReopenedImage], None, None]:
    """Yield images of a scan, read again, by their numbers; each once. `workers` threads read ahead.

    find : gives an image by its stored name.

    Raises ImageError when one is gone, or another is in its place.
    """
    known = {record.number: record for record in sorted(records, key=lambda record: record.number)}
    if dataset is None:
        source: Iterator[ImageEntry] = (replace(find(record.name), number=number) for number, record in known.items())
    else:
        source = chosen(dataset, list(known), model.labels)

    def read(entry: ImageEntry) -> tuple[int, ReopenedImage]:
        return _read(entry, known[entry.number], model.input, dataset)

    with closing(ahead(source, read, workers, 1)) as stream:
        for number, one in stream:
            yield known[number], one


def _read(entry: ImageEntry, record: Record, spec: InputSpec, dataset: Any) -> tuple[int, ReopenedImage]:
    """Read an image and compare it: its content where the scan kept a digest, and what it looks like."""
    if record.digest and entry.stamp() != record.stamp and entry.digest() not in ("", record.digest):
        raise ImageError(f"{printable(record.name)}: changed since it was scanned: restore it, or scan again")
    one = reopened_image(entry.load(spec), spec)
    now = int(perceptual_hash(spec.denormalise(one.x[None].float()))[0])
    # Rounding, of another type or device, may turn a bit of the same image's.
    if now != record.phash and not near_duplicates(now, record.phash):
        raise ImageError(
            f"{printable(record.name)}: it is not the image that was scanned: "
            + ("scan again" if dataset is None else "give the data set without shuffling and random changes")
        )
    return entry.number, one


def reopened_image(found: Image, spec: InputSpec) -> ReopenedImage:
    """Return an image as crops are cut out of it."""
    return ReopenedImage(found.tensor(spec), np.asarray(found.display(spec).convert("RGB")), found.box(spec))


def boxes(
    field: ReceptiveField, grid: tuple[int, int], location: tuple[int, int], spec: InputSpec, box: PixelBox
) -> tuple[PixelBox, PixelBox]:
    """Return the effective part and the whole of what a location sees, in source pixels.

    field : of the layer's middle location, in pixels of the network's input; at the border a box is moved inside
    the image and keeps its size. box : what the network sees of the image.
    """
    sides = (spec.height, spec.width)
    middle = [field.middle[i] + (location[i] - (grid[i] - 1) // 2) * field.stride[i] for i in (0, 1)]
    effective = [_span(max(LEAST, field.effective[i]), middle[i], sides[i]) for i in (0, 1)]
    whole = [_span(field.size[i], middle[i], sides[i]) for i in (0, 1)]
    return _in_source(effective, sides, box), _in_source(whole, sides, box)


def crops(
    model: Model,
    layer: str,
    unit: int,
    field: ReceptiveField,
    opened: Sequence[ReopenedImage],
    locations: Sequence[tuple[int, int]],
    *,
    lowest: bool = False,
) -> list[Crop]:
    """Return what the unit sees at one location of each image; one forward pass. lowest : its map is negated."""
    maps = compute(model, torch.stack([one.x for one in opened]), [layer])[layer][:, unit]
    return [
        cut(one, -own if lowest else own, location, field, model.input)
        for one, location, own in zip(opened, locations, maps, strict=True)
    ]


def cut(
    opened: ReopenedImage, map_: Float[Tensor, "h w"], location: tuple[int, int], field: ReceptiveField, spec: InputSpec
) -> Crop:
    """Return what a unit with this map sees at a location of an image."""
    effective, whole = boxes(field, (map_.shape[0], map_.shape[1]), location, spec, opened.box)
    height, width = opened.image.shape[:2]
    top, bottom = _pixels(effective.top, effective.bottom, height)
    left, right = _pixels(effective.left, effective.right, width)
    mask = _mask(map_, opened.box, (top, bottom, left, right))
    return Crop(opened.image[top:bottom, left:right], mask, effective, whole)


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    """Return the first and the end of the whole pixels of a span within a side; at least one, the middle's."""
    first, end = max(0, round(low)), min(side, round(high))
    if end > first:
        return first, end
    middle = min(max(0, int((low + high) / 2)), side - 1)
    return middle, middle + 1


def _span(size: int, middle: float, side: int) -> tuple[float, float]:
    size = min(size, side)
    first = min(max(0.0, middle - size / 2), side - size)
    return first, first + size


def _in_source(spans: Sequence[tuple[float, float]], sides: tuple[int, int], box: PixelBox) -> PixelBox:
    (top, bottom), (left, right) = spans
    y, x = box.height / sides[0], box.width / sides[1]
    return PixelBox(box.left + left * x, box.top + top * y, box.left + right * x, box.top + bottom * y)


def _mask(map_: Float[Tensor, "h w"], box: PixelBox, part: tuple[int, int, int, int]) -> np.ndarray:
    """Interpolate a map at the middles of the source pixels of `part`, as a share of its peak."""
    top, bottom, left, right = part
    y = (torch.arange(top, bottom) + 0.5 - box.top) / box.height * 2 - 1
    x = (torch.arange(left, right) + 0.5 - box.left) / box.width * 2 - 1
    points = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], 2).float()
    share = (map_ / map_.max().clamp(min=torch.finfo(torch.float32).tiny)).clamp(0, 1)
    sampled = torch.nn.functional.grid_sample(
        share[None, None], points[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, 0].numpy()
