"""Data sets as sources of pictures: torch's, Hugging Face's, WebDataset's; numbered ones, and streams."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from innersight.errors import InnersightError
from innersight.files import expand
from innersight.image import SUFFIXES, Picture, PictureError, as_picture, decode_picture, load_picture
from innersight.model import InputSpec

Content = Picture | Tensor
Label = str | int | None
LOOKED_AT = 16  # entries of a data set, to see whether it normalises its images
PICTURES = ("image", "img", "picture")
LABELS = ("label", "labels", "fine_label", "cls")


@dataclass(frozen=True, eq=False)
class Named:
    """A data set that a text names, by which its entries are found again."""

    name: str
    rows: Any


def apart(pictures: Any) -> tuple[str, Any]:
    """Return the name of a data set, "" where it has none, and the data set."""
    return (pictures.name, pictures.rows) if isinstance(pictures, Named) else ("", pictures)


def gathered(pictures: Any) -> Any:
    """Return what can be gone through twice: one picture as a list, a list of more than files without its folders."""
    if isinstance(pictures, Iterator):
        pictures = list(pictures)
    if isinstance(pictures, Picture | Image.Image) or (isinstance(pictures, np.ndarray | Tensor) and pictures.ndim < 4):
        return [pictures]
    return list(expand(pictures)) if isinstance(pictures, list | tuple) and is_dataset(pictures) else pictures


def is_dataset(pictures: Any) -> bool:
    """Say whether it is a data set and not names of files. Raises InnersightError for what holds data sets."""
    pictures = apart(pictures)[1]
    if isinstance(pictures, DataLoader):
        raise InnersightError("a DataLoader gives batches: give its data set, loader.dataset")
    if isinstance(pictures, Mapping):
        names = ", ".join(map(repr, pictures)) or "nothing"
        raise InnersightError(f"the data set is made of {names}: give one of them")
    if isinstance(pictures, list | tuple):
        return any(not isinstance(one, str | Path) for one in pictures)
    plain = isinstance(pictures, str | Path | set | Iterator)
    return not plain and (numbered(pictures) or hasattr(pictures, "__iter__"))


def numbered(dataset: Any) -> bool:
    """Say whether entries can be asked for by number; those of a stream come one after the other."""
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def rows(dataset: Any) -> Iterator[Any]:
    """Yield the entries of a data set in order."""
    return map(dataset.__getitem__, range(len(dataset))) if numbered(dataset) else iter(dataset)


def class_names(dataset: Any) -> Sequence[str] | None:
    """Return the names of a data set's labels: `classes` of torchvision's, `features` of Hugging Face's."""
    names = getattr(dataset, "classes", None)
    if names is None:
        features = getattr(dataset, "features", None) or {}
        labels = [features[key] for key in LABELS if key in features] if hasattr(features, "get") else []
        names = next((label.names for label in labels if hasattr(label, "names")), None)
    return None if names is None else [str(name) for name in names]


def entry(row: Any, number: int) -> tuple[Any, Label]:
    """Return the picture and the label of an entry of a data set. Raises InnersightError for one without a picture."""
    label: Any = None
    if isinstance(row, Mapping):
        key = next((key for key in row if key in PICTURES), None) or next(filter(_ending, row), None)
        if key is None:
            raise InnersightError(
                f"entry {number} of the data set has {', '.join(map(str, row))}: name its picture 'image'"
            )
        label = next((row[name] for name in LABELS if name in row), None)
        row = row[key]
    elif isinstance(row, tuple | list) and row:
        row, label = row[0], row[1] if len(row) > 1 else None
    if isinstance(label, Tensor):
        label = label.item() if label.numel() == 1 else None
    elif isinstance(label, np.generic):
        label = label.item()
    elif isinstance(label, bytes):
        label = label.decode("utf-8", "replace").strip()
    return row, label if isinstance(label, str | int) else None


def unscaled(dataset: Any, spec: InputSpec) -> str | None:
    """Return a note where the entries look like pixels that nobody brought to the network's mean and deviation.

    Of up to `LOOKED_AT` entries, spread over the data set: one image alone may lie between 0 and 1 by chance, and the
    first of a data set that does not may be black.
    """
    dataset = apart(dataset)[1]
    if not numbered(dataset) or not len(dataset) or (set(spec.mean) == {0.0} and set(spec.std) == {1.0}):
        return None
    count = min(LOOKED_AT, len(dataset))
    seen = 0
    for number in range(count):
        at = number * (len(dataset) - 1) // max(1, count - 1)
        try:
            picture = entry(dataset[at], at)[0]
        except Exception:  # noqa: BLE001 - whatever a data set raises is told when its entries are read
            continue
        if not isinstance(picture, Tensor) or not picture.is_floating_point() or not picture.numel():
            continue
        if not (float(picture.min()) >= 0 and float(picture.max()) <= 1):
            return None
        seen += 1
    if not seen:
        return None
    others = f", as do {seen - 1} others that were looked at" if seen > 1 else ""
    return (
        f"float Tensors are taken for the network's own input, and the first one lies between 0 and 1{others}: if the "
        "data set does not normalise its pictures, give PIL images or uint8 Tensors"
    )


def content(picture: Any, name: str) -> Content:
    """Return an entry's picture; a float Tensor is the network's input and stays as it is.

    Bytes are those of a picture file, also in a dict with `bytes` and `path`, as Hugging Face keeps them. Raises
    PictureError for what is no picture.
    """
    if isinstance(picture, Tensor):
        if picture.is_floating_point():
            return picture
        if picture.ndim != 3:
            raise PictureError(f"{name}: a Tensor of {tuple(picture.shape)} is no picture; give (C, H, W)")
        return as_picture(picture.permute(1, 2, 0).squeeze(2).cpu().numpy(), name=name)
    if isinstance(picture, Mapping) and "bytes" in picture:
        data, path = picture["bytes"], picture.get("path")
        if data is not None:
            return decode_picture(data, path or name)
        if path is None:
            raise PictureError(f"{name}: an entry without a picture")
        return load_picture(path)
    if isinstance(picture, bytes):
        return decode_picture(picture, name)
    if isinstance(picture, str | Path):
        return load_picture(picture)
    if not isinstance(picture, Picture | Image.Image | np.ndarray):
        raise PictureError(
            f"{name}: an entry whose picture is a {type(picture).__name__}; give a PIL image or an array"
        )
    return as_picture(picture, name=name)


def content_bytes(picture: Any, name: str) -> bytes:
    """Return what tells one picture from another: of a file that was not decoded its bytes."""
    data = picture.get("bytes") if isinstance(picture, Mapping) else picture
    if isinstance(data, bytes):
        return data
    found = content(picture, name)
    return found.cpu().contiguous().numpy().tobytes() if isinstance(found, Tensor) else found.digest().encode()


def _ending(key: Any) -> bool:
    """WebDataset names the parts of a sample by the endings of their files."""
    return isinstance(key, str) and os.path.splitext(f"a.{key}")[1].lower() in SUFFIXES
