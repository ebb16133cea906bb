"""Masks of parts: which pixels of an image belong to what, read from files."""

import os
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image as PILImage
from PIL import ImageOps

from innersight.boxes import PixelBox
from innersight.brief import brief
from innersight.errors import InnersightError, printable, whole
from innersight.image import BROKEN, MAX_PIXELS, SUFFIXES, ImageError, load_image
from innersight.inputs.files import find_images
from innersight.storage.bounded import MAX_MODEL, check, read_json

LEGEND = "parts.json"
EXACT = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".npy")
"""Endings of files that keep a number as it is; JPEG does not."""


@dataclass(frozen=True)
class Masks:
    """Where parts are seen on images.

    parts : their names, in order. of : from an image's path or name to its parts, each (H, W) bool in the image's
    own upright pixels; a part that is not on it may be left out. None for an image without a mask. ends : the masks
    by the end of the image's path that each is for; empty where that is not known.
    """

    parts: tuple[str, ...]
    of: Callable[[str | Path], Mapping[str, np.ndarray] | None]
    ends: frozenset[str] = frozenset()

    __repr__ = brief

    def end(self, name: str | Path) -> str | None:
        """Return which of `ends` an image's path has."""
        return next((end for end in ends_of(Path(name).with_suffix("")) if end in self.ends), None)


def read_masks(source: str | Path) -> Masks:
    """Return the masks in a folder, of the same names and subfolders as the images.

    With a file `parts.json`, the names of the numbers (a list from 0 on, or an object such as {"1": "hair"}), each mask
    is an image of numbers: grey or palette, without JPEG's losses, or `.npy` integers (H, W). A number named null
    belongs to nothing. Without `parts.json` every subfolder is a part and holds one file for each image, not black
    where the part is. Raises InnersightError for a folder of neither kind, with the remedy.
    """
    folder = Path(source)
    if not os.path.isdir(folder):
        raise InnersightError(f"masks={printable(folder)!r} is not a folder; give the folder with the masks")
    legend = folder / LEGEND
    return _of_numbers(folder, _legend(legend)) if legend.is_file() else _of_parts(folder)


def _of_numbers(folder: Path, names: Mapping[int, str | None]) -> Masks:
    files = _required(files_by_end(folder), folder)

    def of(name: str | Path) -> Mapping[str, np.ndarray] | None:
        file = next((files[end] for end in ends_of(Path(name).with_suffix("")) if end in files), None)
        return None if file is None else _split(numbers(file), names, file)

    parts = tuple(dict.fromkeys(name for name in names.values() if name is not None))
    return Masks(parts, of, frozenset(files))


def _split(values: Integer[np.ndarray, "H W"], names: Mapping[int, str | None], file: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for number in np.unique(values).tolist():
        if number not in names:
            raise InnersightError(
                f"{printable(file)}: the mask holds {number}, which {LEGEND} does not name (it names "
                f"{', '.join(map(str, list(names)[:12]))}{' ...' if len(names) > 12 else ''}); "
                f'name it, or write "{number}": null to ignore it'
            )
        name = names[number]
        if name is not None:
            own = values == number
            found[name] = found[name] | own if name in found else own
    return found


def _of_parts(folder: Path) -> Masks:
    loose = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if loose:
        raise InnersightError(
            f"{printable(folder)}: {loose[0].name!r} lies in no part's folder; write PART/NAME.png, or, for masks of "
            f'numbers, a file {LEGEND} that names them, such as {{"0": null, "1": "hair"}}'
        )
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {path.name: files_by_end(path) for path in folders}
    files = {part: found for part, found in files.items() if found}
    known = _required({end: file for found in files.values() for end, file in found.items()}, folder)

    def of(name: str | Path) -> Mapping[str, np.ndarray] | None:
        end = next((end for end in ends_of(Path(name).with_suffix("")) if end in known), None)
        return None if end is None else {part: not_black(own[end]) for part, own in files.items() if end in own}

    return Masks(tuple(files), of, frozenset(known))


def _required(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    if files:
        return files
    others = sorted({path.suffix for path in folder.rglob("*") if path.is_file() and path.name != LEGEND} - {""})
    kinds = f"; it holds {', '.join(others[:4])} files, which are not read as masks" if others else ""
    raise InnersightError(
        f"{printable(folder)}: no masks in this folder{kinds}; name them as the images are, and end them in .png"
    )


def _legend(file: Path) -> dict[int, str | None]:
    shown = printable(file)
    remedy = 'write a list of names, from number 0 on, or an object such as {"0": null, "1": "hair"}'
    try:
        content: Any = read_json(file, what="list of parts")
    except InnersightError as error:
        raise InnersightError(f"{error}; {remedy}") from error
    pairs = enumerate(content) if isinstance(content, list) else content.items() if isinstance(content, dict) else ()
    names: dict[int, str | None] = {}
    for number, name in pairs:
        if whole(str(number)) is None or not (name is None or (isinstance(name, str) and name.strip())):
            pair = f"{printable(number)}: {printable(name)!r}"
            raise InnersightError(f"{shown}: {pair} is not a number with a name; {remedy}")
        names[int(number)] = name
    if not any(names.values()):
        raise InnersightError(f"{shown}: names no part; {remedy}")
    return names


def numbers(path: Path) -> Integer[np.ndarray, "H W"]:
    """Return the numbers a mask holds, upright: of a palette its entries, of a grey image its values, as stored.

    Raises InnersightError for a format that changes numbers, for colours, and for what cannot be read.
    """
    shown = printable(path)
    if path.suffix.lower() not in EXACT:
        raise InnersightError(f"{shown}: a mask of numbers needs a lossless file; save it as .png or .npy")
    check(path, what="mask", limit=MAX_MODEL)
    if path.suffix.lower() == ".npy":
        return _array(path, shown)
    try:
        with PILImage.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise InnersightError(f"{shown}: {opened.width}x{opened.height} pixels are more than {MAX_PIXELS:,}")
            if opened.mode not in ("1", "L", "P") and not opened.mode.startswith("I"):
                raise InnersightError(
                    f"{shown}: a mask of numbers is grey or has a palette, and this one has {opened.mode} colours; "
                    "save it as indexed PNG, or one file for each part as PART/NAME.png"
                )
            values = np.asarray(ImageOps.exif_transpose(opened))
    except BROKEN as error:
        if isinstance(error, InnersightError):
            raise
        raise InnersightError(f"{shown}: cannot be read as a mask ({printable(error)})") from error
    return values.astype(np.int32)


def _array(path: Path, shown: str) -> Integer[np.ndarray, "H W"]:
    try:
        values: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (*BROKEN, tokenize.TokenError) as error:
        raise InnersightError(f"{shown}: cannot be read as a mask ({printable(error)})") from error
    if values.ndim != 2 or not (np.issubdtype(values.dtype, np.integer) or values.dtype == bool):
        raise InnersightError(f"{shown}: {values.dtype} {values.shape} is not a mask; give integers (height, width)")
    return values.astype(np.int32)


def not_black(path: Path) -> Bool[np.ndarray, "H W"]:
    """Return where an image is not black. Raises InnersightError for one that cannot be read."""
    try:
        return np.asarray(load_image(path, background="black").pil.convert("L")) > 0
    except ImageError as error:
        raise InnersightError(f"mask {error}") from error


def laid(values: np.ndarray, box: PixelBox, size: tuple[int, int]) -> np.ndarray:
    """Return integers or truths (H, W) over an image as (h, w) over its part `box`; the nearest pixel, none mixed."""
    rows = _middles(box.top, box.bottom, size[0], values.shape[0])
    columns = _middles(box.left, box.right, size[1], values.shape[1])
    taken: np.ndarray = values[rows[:, None], columns]
    return taken


def _middles(start: float, end: float, count: int, most: int) -> Integer[np.ndarray, " count"]:
    inside = np.floor(start + (np.arange(count) + 0.5) * ((end - start) / count)).astype(np.int64)
    found: np.ndarray = inside.clip(0, most - 1)
    return found


def check_size(mask: np.ndarray, size: tuple[int, int], name: str) -> None:
    """Raise InnersightError for a mask that has not the (height, width) of its image."""
    if mask.shape != size:
        raise InnersightError(
            f"{name}: the mask has {mask.shape[1]}x{mask.shape[0]} pixels and the image {size[1]}x{size[0]}; "
            "both must have the same size"
        )


def files_by_end(folder: Path) -> dict[str, Path]:
    """Return the image files below a folder, by their path in it without ending."""
    return {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for file in find_images([folder])
        if file.suffix.lower() in SUFFIXES
    }


def ends_of(path: Path) -> Iterator[str]:
    """Yield every end of a path, the longest first."""
    parts = path.parts
    yield path.as_posix()
    yield from ("/".join(parts[i:]) for i in range(len(parts)))
