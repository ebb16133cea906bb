"""Data sets and batches as sources of images: torch's, Hugging Face's, WebDataset's; numbered ones, and streams."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from innersight.errors import InnersightError
from innersight.image import SUFFIXES, Image, ImageError, as_image, decode_image, file_bytes, load_image
from innersight.input_spec import InputSpec
from innersight.inputs.labels import Label
from innersight.inputs.tensors import image_of, is_batch

IMAGES = ("image", "img", "picture", "pixel_values", "images")
LABELS = ("label", "labels", "fine_label", "cls")
_DECODING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Named:
    """A data set that a text names, by which its entries are found again."""

    name: str
    rows: Any


def set_of(loader: DataLoader[Any]) -> Any:
    """Return the data set that a DataLoader goes through.

    Raises InnersightError for one that leaves some of it out, or changes it after it was loaded.
    """
    batcher, known = loader.batch_sampler, (default_collate, default_convert)
    sampler = loader.sampler if batcher is None else getattr(batcher, "sampler", None)
    whole = type(sampler) in (SequentialSampler, RandomSampler) and type(batcher) in (type(None), BatchSampler)
    if isinstance(sampler, RandomSampler):
        whole = whole and not sampler.replacement and sampler.num_samples >= len(loader.dataset)  # type: ignore[arg-type]
    whole = whole or isinstance(loader.dataset, IterableDataset)
    if not whole or loader.collate_fn not in known:
        raise InnersightError(
            f"the DataLoader has a {'collate_fn' if whole else 'sampler'} of its own, which reading its data set "
            "would ignore: give images=loader.dataset, or one batch, next(iter(loader))"
        )
    return loader.dataset


def is_row_batch(images: Any) -> bool:
    """Say whether it is a batch with labels, as a DataLoader gives them: (images (B, ...), labels (B,)), or a dict."""
    if isinstance(images, tuple | list):
        return (
            len(images) == 2
            and is_batch(images[0])
            and isinstance(images[1], Tensor | np.ndarray)
            and images[1].ndim == 1
            and len(images[0]) == len(images[1])
        )
    return isinstance(images, Mapping) and any(is_batch(images[key]) for key in IMAGES if key in images)


def rows_of_batch(images: Any) -> list[tuple[Any, Any]]:
    """Return the images of such a batch with their labels."""
    if isinstance(images, Mapping):
        pixels = next(images[key] for key in IMAGES if key in images and is_batch(images[key]))
        labels = next((images[key] for key in LABELS if key in images), None)
        if labels is None or len(labels) != len(pixels):
            labels = [None] * len(pixels)
    else:
        pixels, labels = images
    return list(zip(pixels, labels, strict=True))


def is_list(thing: Any) -> bool:
    """Say whether an element of a list is a list of images itself, and not (image, label)."""
    if not isinstance(thing, list) or not thing:
        return False
    last = thing[-1]
    plain = isinstance(last, str | int | bytes | np.generic | None)
    return len(thing) != 2 or not (plain or (isinstance(last, Tensor | np.ndarray) and last.ndim < 2))


def is_row(images: Any) -> bool:
    """Say whether it is one entry of a data set, a dict with an image."""
    return isinstance(images, Mapping) and _key(images) is not None


def numbered(dataset: Any) -> bool:
    """Say whether entries can be asked for by number; those of a stream come one after the other."""
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def rows(dataset: Any) -> Iterator[Any]:
    """Yield the entries of a data set in order."""
    return map(dataset.__getitem__, range(len(dataset))) if numbered(dataset) else iter(dataset)


def class_names(dataset: Any) -> Sequence[str] | None:
    """Return the names of a data set's labels: `classes` of torchvision's, `features` of Hugging Face's.

    Those of a part of a data set (`torch.utils.data.Subset`) are those of the whole.
    """
    for _ in range(16):
        names = getattr(dataset, "classes", None)
        if names is None:
            features = getattr(dataset, "features", None) or {}
            labels = [features[key] for key in LABELS if key in features] if hasattr(features, "get") else []
            names = next((label.names for label in labels if hasattr(label, "names")), None)
        if names is not None:
            return [str(name) for name in names]
        parts = getattr(dataset, "datasets", None)
        inner = parts[0] if isinstance(parts, list | tuple) and parts else getattr(dataset, "dataset", None)
        if inner is None:
            return None
        dataset = inner
    return None


def row_of(row: Any, number: int) -> tuple[Any, Label]:
    """Return the image and the label of an entry of a data set. Raises InnersightError for one without an image."""
    label: Any = None
    if isinstance(row, Mapping):
        key = _key(row)
        if key is None:
            raise InnersightError(
                f"entry {number} of the data set has {', '.join(map(str, row))}: name its image 'image'"
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


def read_image(image: Any, name: str, spec: InputSpec) -> Image:
    """Return an entry's image; of a float tensor it is the network's input.

    Bytes are those of an image file, also in a dict with `bytes` and `path`, as Hugging Face keeps them. Raises
    ImageError for what is no image.
    """
    if isinstance(image, Tensor):
        return image_of(image, name, spec)
    if isinstance(image, Mapping) and "bytes" in image:
        data, path = image["bytes"], image.get("path")
        if data is not None:
            return decode_image(data, path or name)
        if path is None:
            raise ImageError(f"{name}: the entry holds no image")
        return load_image(path)
    if isinstance(image, bytes):
        return decode_image(image, name)
    if isinstance(image, str | Path):
        return load_image(image)
    if not isinstance(image, Image | PILImage.Image | np.ndarray):
        raise ImageError(
            f"{name}: a {type(image).__name__} is not an image: give a file, a PIL image, an array or a tensor"
        )
    if isinstance(image, PILImage.Image):
        # A file that Pillow opened and not yet decoded: two threads may be given the same one.
        with _DECODING:
            return as_image(image, name=name)
    return as_image(image, name=name)


def content_bytes(image: Any, name: str) -> bytes:
    """Return what tells one image from another: of a file that was not decoded its bytes."""
    data = image.get("bytes") if isinstance(image, Mapping) else image
    if isinstance(data, bytes):
        return data
    if isinstance(image, Mapping):
        data = image.get("path")
    if isinstance(data, str | Path):
        return file_bytes(Path(data))
    if isinstance(data, Tensor):
        if data.layout != torch.strided or data.is_quantized or data.is_meta:
            raise ImageError(f"{name}: no image")
        return data.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if not isinstance(data, Image | PILImage.Image | np.ndarray):
        raise ImageError(f"{name}: no image")
    return as_image(data, name=name).digest().encode()


def _key(row: Mapping[Any, Any]) -> Any:
    return next((key for key in row if key in IMAGES), None) or next(filter(_ending, row), None)


def _ending(key: Any) -> bool:
    """WebDataset names the parts of a sample by the endings of their files."""
    return isinstance(key, str) and os.path.splitext(f"a.{key}")[1].lower() in SUFFIXES
