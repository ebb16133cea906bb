"""Where images come from, one after the other: folders, tar files, data sets, lists; nothing is read yet."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as counting
from pathlib import Path
from typing import Any

from innersight.brief import brief
from innersight.errors import printable
from innersight.image import Image, ImageError, file_bytes, load_image
from innersight.input_spec import InputSpec
from innersight.inputs.archive import Member, members
from innersight.inputs.datasets import (
    class_names,
    content_bytes,
    is_list,
    is_row_batch,
    numbered,
    read_image,
    row_of,
    rows,
    rows_of_batch,
)
from innersight.inputs.files import find_images, is_tar
from innersight.inputs.kinds import given
from innersight.inputs.labels import Label, folder_label, folders_below, folders_in_archive, label_of_path
from innersight.inputs.tensors import is_batch


@dataclass(frozen=True)
class ImageEntry:
    """An image that was not read yet.

    Attributes
    ----------
    number : int
        Its place among all, from 0.
    name : str
        For people, and to find it again.
    path : pathlib.Path or None
        Of its file, if it has one of its own.
    label : str, int or None
        Name or number of its class, as given.
    load : callable
        Reads it for a network's input: from an InputSpec to an Image.
    bytes : callable
        Returns the bytes that tell whether it changed.
    stamp : callable
        Returns a text that changes when it may have changed, cheap to get; "" where nothing cheap tells.
    folder : bool
        Whether the label is the name of a folder.
    inside : tuple of str
        The folders that it lies in below what was named, the outermost first.
    row : object
        The entry of a data set that it comes from, else None.
    image : object
        As it was given, where it is in memory, else None.

    """

    number: int
    name: str
    path: Path | None
    label: Label
    load: Callable[[InputSpec], Image]
    bytes: Callable[[], bytes]
    stamp: Callable[[], str] = str
    folder: bool = False
    inside: tuple[str, ...] = ()
    row: Any = None
    image: Any = None

    __repr__ = brief

    def digest(self) -> str:
        """Return a digest of the content; "" where it cannot be read."""
        try:
            return hashlib.blake2b(self.bytes(), digest_size=16).hexdigest()
        except (OSError, ImageError):
            return ""


def entries(images: Any, labels: Sequence[str] = ()) -> Iterator[ImageEntry]:
    """Yield the images of whatever holds images, in their order; none is read yet.

    Parameters
    ----------
    images
        One of these, or a list of them:

        - a file, a folder (all image files below it, or its tar files where it has none), a pattern such as
          `a/*/1.png`, a tar file, also a compressed one;
        - a PIL image; an array (H, W), (H, W, C) or (B, H, W, C); an Image; the bytes of a file;
        - a tensor: uint8 pixels (C, H, W), (H, W, C) or (B, ...); or floats (C, H, W) or (B, C, H, W), which are the
          network's own input as it is;
        - a batch with labels as a DataLoader gives it, (images, labels);

        or one data set: anything with `len` and numbered entries, or a stream of entries, of torch, of Hugging Face
        `datasets`, of `webdataset`; a DataLoader, whose data set is gone through; `hf:NAME_OR_DIR?split=test` or
        `python:MODULE:NAME`. Its entries are images, (image, label), or dicts with `image`, `img`, or an ending such as
        `png`, and perhaps `label` or `cls`.
    labels
        The network's classes. The label of a file is a folder that it lies in, see
        `innersight.inputs.labels.folder_label`; of a file in a tar file what its `.cls` says, else a folder inside.

    Returns
    -------
    Iterator of ImageEntry
        Files that cannot be read are among them; reading one raises ImageError.

    Raises
    ------
    InnersightError
        For what holds no images, and for several data sets.

    Examples
    --------
    >>> import torch
    >>> from innersight import inputs
    >>> [entry.name for entry in inputs.entries(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))]
    ['image 0', 'image 1']

    """
    own = given(images)
    if own.things is None:
        return _of_dataset(own.dataset, own.name)
    return _of_things(own.things, tuple(labels))


def _of_things(things: Iterable[Any], labels: tuple[str, ...], first: int = 0) -> Iterator[ImageEntry]:
    number = first
    for thing in things:
        for entry in _of_thing(number, thing, labels):
            yield entry
            number += 1


def _of_thing(first: int, thing: Any, labels: tuple[str, ...]) -> Iterator[ImageEntry]:
    """Yield what an element of a list holds; first : the number of the first of them."""
    if isinstance(thing, str | Path):
        yield from _of_path(first, Path(thing), labels)
    elif isinstance(thing, Image):
        yield _of_image(first, thing, labels)
    elif is_batch(thing) or is_row_batch(thing):
        rows_ = thing if is_batch(thing) else rows_of_batch(thing)
        yield from (_of_row(first + i, row) for i, row in enumerate(rows_))
    elif is_list(thing):
        yield from _of_things(thing, labels, first)
    else:
        yield _of_row(first, thing)


def _of_path(number: int, named: Path, labels: tuple[str, ...]) -> Iterator[ImageEntry]:
    for path in find_images([named]):
        for file in _shards(path):
            # A pattern names files, not a folder that they lie in.
            root = named if os.path.lexists(named) else file
            each = _of_tar(number, file, labels) if is_tar(file) else iter([of_file(number, file, root, labels)])
            for entry in each:
                yield entry
                number += 1


def _shards(path: Path) -> list[Path]:
    """Return the tar files of a folder without images, else the path itself."""
    tars = sorted(file for file in path.iterdir() if is_tar(file)) if _listable(path) else []
    return tars or [path]


def _listable(path: Path) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)


def of_file(number: int, path: Path, named: Path, labels: Sequence[str]) -> ImageEntry:
    """Return the entry of a file; named : the file, folder or pattern that was given."""
    return ImageEntry(
        number, os.fspath(path), path, label_of_path(path, named, labels), partial(_load_file, path),
        partial(file_bytes, path), partial(_stamp, path), folder=True, inside=folders_below(path, named),
    )  # fmt: skip


def _load_file(path: Path, spec: InputSpec) -> Image:
    del spec
    return load_image(path)


def of_member(number: int, member: Member, label: Label, inside: tuple[str, ...] = ()) -> ImageEntry:
    """Return the entry of a file in a tar file; inside : its folders there, the outermost first."""
    return ImageEntry(
        number, member.name, None, label, partial(load_member, member), member.content, member.stamp,
        folder=member.label is None, inside=inside,
    )  # fmt: skip


def load_member(member: Member, spec: InputSpec) -> Image:
    """Return the image of a file in a tar file."""
    del spec
    return member.load()


def _of_tar(number: int, path: Path, labels: Sequence[str]) -> Iterator[ImageEntry]:
    try:
        for member in members(path):
            folders = folders_in_archive(member.name[len(os.fspath(path)) + 1 :])
            label = folder_label(folders[::-1], (), labels) if member.label is None else member.label
            yield of_member(number, member, label, folders)
            number += 1
    except ImageError as error:
        # What was read before stays: the rest is one more file that cannot be read.
        yield _broken(number, os.fspath(path), error)


def _broken(number: int, name: str, error: ImageError) -> ImageEntry:
    return ImageEntry(number, name, None, None, partial(_fail, error), bytes)


def _fail(error: ImageError, spec: InputSpec) -> Image:
    del spec
    raise error


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _of_dataset(dataset: Any, text: str) -> Iterator[ImageEntry]:
    names = class_names(dataset)
    each = rows(dataset)
    for number in counting():
        name = f"{text}#{number}"
        try:
            row = next(each)
        except StopIteration:
            return
        except Exception as error:
            # One entry that cannot be read is like a file that cannot; a stream that failed has ended.
            if not numbered(dataset):
                raise
            yield _broken(
                number, name,
                ImageError(f"{name}: the data set returned no entry ({type(error).__name__}: {printable(error)})"),
            )  # fmt: skip
            continue
        yield of_entry(number, row, names, text)


def of_entry(number: int, row: Any, names: Sequence[str] | None, text: str) -> ImageEntry:
    """Return an entry of a data set; names : of its classes, text : what the data set is called."""
    entry = _of_row(number, row, f"{text}#{number}")
    label = entry.label
    if names is not None and isinstance(label, int) and 0 <= label < len(names):
        label = names[label]
    return replace(entry, label=label)


def _of_row(number: int, row: Any, name: str = "") -> ImageEntry:
    """Return an image, (image, label), or a dict of them; name : of an image without one of its own."""
    image, label = row_of(row, number)
    if isinstance(image, str | Path):
        return replace(of_file(number, Path(image), Path(image), ()), label=label, folder=False, row=row)
    if isinstance(image, Image):
        return replace(_of_image(number, image, ()), label=image.label if label is None else label, row=row)
    name = name or f"image {number}"
    load, read = partial(read_image, image, name), partial(content_bytes, image, name)
    return ImageEntry(number, name, None, label, load, read, row=row, image=image)


def _of_image(number: int, image: Image, labels: Sequence[str]) -> ImageEntry:
    label, folder = image.label, image.folder
    if label is None and image.path is not None and labels:
        label, folder = label_of_path(image.path, image.path, labels), True
    load, read = partial(read_image, image, image.name), partial(content_bytes, image, image.name)
    return ImageEntry(number, image.name, image.path, label, load, read, folder=folder, image=image)
