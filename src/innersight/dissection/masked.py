"""Images with their masks, one after the other, both as the network sees them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.input_spec import InputSpec
from innersight.inputs import ImageEntry, entries, given
from innersight.masks import Masks, check_size, laid, read_masks

MasksGiven = str | Path | Callable[[str], Mapping[str, Any] | None] | None
Parts = Mapping[str, np.ndarray]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class MaskSource:
    """Where masks come from.

    parts : those known beforehand. of : the parts of an image, see `innersight.masks.Masks`. files : masks in a
    folder, if it is one.
    """

    parts: tuple[str, ...]
    of: Callable[[ImageEntry], Parts | None]
    files: Masks | None = None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Masked:
    """An image that was read, with its parts.

    values : as in `innersight.inputs.Loaded`. parts : of each part that is on it, (h, w) bool in the grid that
    overlaps are counted in.
    """

    entry: ImageEntry
    values: np.ndarray | Tensor
    parts: Parts

    __repr__ = brief


class NoMaskError(ImageError):
    """Raised for an image that can be read but has no mask."""


def source(masks: MasksGiven, images: Any) -> MaskSource:
    """Return where masks come from: a folder, a function of an image's name, or the entries of a data set."""
    if isinstance(masks, str | Path):
        found = read_masks(masks)
        return MaskSource(found.parts, lambda entry: found.of(entry.name), found)
    if callable(masks):
        return MaskSource((), lambda entry: _arrays(masks(entry.name), entry.name))
    if masks is None and _has_rows(images):
        return MaskSource((), _of_row)
    if masks is None:
        raise InnersightError(
            "masks are missing: give masks=FOLDER (--masks), a function of an image's name, or a data set whose "
            "entries have 'masks'; or label units by words and a CLIP model, see innersight.dissection.label"
        )
    raise InnersightError(f"masks={printable(masks)!r} of type {type(masks).__name__}: give a folder or a function")


def grid_of(spec: InputSpec, limit: int) -> tuple[int, int]:
    """Return (h, w) of the network's input, scaled down so that no side is longer than `limit`."""
    scale = min(1.0, limit / max(spec.height, spec.width))
    return max(1, round(spec.height * scale)), max(1, round(spec.width * scale))


def read(entry: ImageEntry, spec: InputSpec, masks: MaskSource, grid: tuple[int, int]) -> Masked:
    """Read an image and its masks.

    Raises ImageError for an image that cannot be read, NoMaskError for one without a mask, and InnersightError for a
    mask that cannot be used.
    """
    found = entry.load(spec)
    values, name = found.values(spec), printable(entry.name)
    parts = masks.of(entry)
    if parts is None:
        raise NoMaskError(f"{name}: it has no mask")
    for mask in parts.values():
        check_size(mask, (found.height, found.width), name)
    return Masked(entry, values, {part: laid(mask, found.box(spec), grid) for part, mask in parts.items()})


def stacked(loaded: Sequence[Masked], parts: Sequence[str], grid: tuple[int, int]) -> Bool[Tensor, "B parts pixels"]:
    """Return the masks of a batch over the pixels of the grid, row by row."""
    nothing = np.zeros(grid, bool)
    rows = [np.stack([one.parts.get(part, nothing) for part in parts]) for one in loaded]
    return torch.from_numpy(np.stack(rows)).flatten(2)


def _has_rows(images: Any) -> bool:
    """Say whether entries may bring their masks: those of a data set, and dicts in a list."""
    own = given(images)
    return own.things is None or any(isinstance(thing, Mapping) for thing in own.things)


def brings_masks(images: Any) -> bool:
    """Say whether the first entry brings its masks."""
    first = next(iter(entries(images)), None) if _has_rows(images) else None
    return first is not None and isinstance(first.row, dict) and "masks" in first.row


def _of_row(entry: ImageEntry) -> Parts | None:
    row = entry.row
    if not isinstance(row, dict) or "masks" not in row:
        has = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise InnersightError(
            f"entry {entry.number} of the data set has no 'masks' (it has {has}); make its entries dicts of 'image' "
            "and 'masks', which name each part and its (H, W) booleans; or give masks="
        )
    return _arrays(row["masks"], entry.name)


def _arrays(found: Any, name: str) -> Parts | None:
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise InnersightError(
            f"{printable(name)}: its masks are a {type(found).__name__}; give a dict of part: (H, W) booleans, or None"
        )
    return {str(part): _mask(mask, f"{printable(name)}, {printable(part)}") for part, mask in found.items()}


def _mask(mask: Any, where: str) -> Bool[np.ndarray, "H W"]:
    array = np.asarray(mask)
    if array.ndim != 2 or not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
        raise InnersightError(f"{where}: {array.dtype} {array.shape} is not a mask; give booleans (height, width)")
    found: np.ndarray = array != 0
    return found
