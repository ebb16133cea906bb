"""Pictures with their masks, one after the other, both as the network is shown them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.feed import Item
from innersight.feed.dataset import is_dataset
from innersight.image import Box, Picture, PictureError
from innersight.masks import Masks, check_size, laid, read_masks
from innersight.model import InputSpec

Asked = str | Path | Callable[[str], Mapping[str, Any] | None] | None
Parts = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Source:
    """Where masks come from.

    parts : those known beforehand. of : the parts of a picture, see `innersight.masks.Masks`. files : masks in a
    folder, if it is one.
    """

    parts: tuple[str, ...]
    of: Callable[[Item], Parts | None]
    files: Masks | None = None


@dataclass(frozen=True, eq=False)
class Masked:
    """A picture that was read, with its parts, or the reason why not.

    values : as in `innersight.feed.Loaded`. parts : of each part that is on it, (h, w) bool in the grid that
    overlaps are counted in. unmasked : it could be read but has no mask.
    """

    item: Item
    values: np.ndarray | Tensor | None
    parts: Parts
    broken: str | None = None
    unmasked: bool = False


def source(masks: Asked, pictures: Any) -> Source:
    """Return where masks come from: a folder, a function of a picture's name, or the entries of a data set."""
    if isinstance(masks, str | Path):
        found = read_masks(masks)
        return Source(found.parts, lambda item: found.of(item.name), found)
    if callable(masks):
        return Source((), lambda item: _arrays(masks(item.name), item.name))
    if masks is None and is_dataset(pictures):
        return Source((), _of_row)
    if masks is None:
        raise InnersightError(
            "masks are missing: give masks=FOLDER (--masks), a function of a picture's name, or a data set whose "
            "entries have 'masks'; innersight.dissection.label does without, by words and a CLIP model of yours"
        )
    raise InnersightError(f"masks={printable(masks)!r} of type {type(masks).__name__}: give a folder or a function")


def grid_of(spec: InputSpec, most: int) -> tuple[int, int]:
    """Return (h, w) of the network's input, scaled down so that no side is longer than `most`."""
    scale = min(1.0, most / max(spec.height, spec.width))
    return max(1, round(spec.height * scale)), max(1, round(spec.width * scale))


def read(item: Item, spec: InputSpec, masks: Source, grid: tuple[int, int]) -> Masked:
    """Read a picture and its masks. Raises InnersightError for a mask that cannot be used."""
    try:
        found = item.load()
        values = found if isinstance(found, Tensor) else found.values(spec)
        box, size = _seen(found, item.name, spec)
    except PictureError as error:
        return Masked(item, None, {}, str(error))
    parts = masks.of(item)
    if parts is None:
        return Masked(item, None, {}, f"{printable(item.name)}: there is no mask for it", unmasked=True)
    for mask in parts.values():
        check_size(mask, size, printable(item.name))
    return Masked(item, values, {part: laid(mask, box, grid) for part, mask in parts.items()})


def stacked(loaded: Sequence[Masked], parts: Sequence[str], grid: tuple[int, int]) -> Bool[Tensor, "B parts places"]:
    """Return the masks of a batch over the places of the grid, row by row."""
    nothing = np.zeros(grid, bool)
    rows = [np.stack([one.parts.get(part, nothing) for part in parts]) for one in loaded]
    return torch.from_numpy(np.stack(rows)).flatten(2)


def _seen(found: Picture | Tensor, name: str, spec: InputSpec) -> tuple[Box, tuple[int, int]]:
    """Return what the network sees of a picture, and the (height, width) its masks must have."""
    if isinstance(found, Picture):
        return found.box(spec), (found.height, found.width)
    if tuple(found.shape) != spec.shape:
        raise PictureError(f"{printable(name)}: a Tensor of {tuple(found.shape)}; the network takes {spec.shape}")
    return Box(0, 0, spec.width, spec.height), (spec.height, spec.width)


def _of_row(item: Item) -> Parts | None:
    row = item.row
    if not isinstance(row, dict) or "masks" not in row:
        has = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise InnersightError(
            f"entry {item.number} of the data set has no 'masks' (it has {has}); make its entries dicts of 'image' and "
            "'masks', which name each part and where it is, (H, W) of truths; or give masks="
        )
    return _arrays(row["masks"], item.name)


def _arrays(found: Any, name: str) -> Parts | None:
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise InnersightError(
            f"{printable(name)}: its masks are a {type(found).__name__}; give a dict of part: (H, W) truths, or None"
        )
    return {str(part): _truths(mask, f"{printable(name)}, {printable(part)}") for part, mask in found.items()}


def _truths(mask: Any, where: str) -> Bool[np.ndarray, "H W"]:
    array = np.asarray(mask)
    if array.ndim != 2 or not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
        raise InnersightError(f"{where}: {array.dtype} {array.shape} is no mask; give truths (height, width)")
    truths: np.ndarray = array != 0
    return truths
