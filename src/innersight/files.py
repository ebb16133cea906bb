"""Files: the pictures below folders, one after the other, and those that can be read."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from innersight.image import SUFFIXES, Picture, PictureError, as_picture
from innersight.model import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Source = str | Path | Image.Image | np.ndarray | Picture

S = TypeVar("S")
T = TypeVar("T")


def read_pictures(sources: "Sequence[Source] | Source", spec: InputSpec) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Return every picture that can be read, and one sentence for each that cannot, or that the network cannot take.

    sources : files, folders (all picture files below them), PIL images, arrays or Pictures; one or several. Raises
    PictureError when nothing at all could be read.
    """
    skipped: list[str] = []
    pictures = [picture for (picture,) in batches(expand(sources), reader(spec), 1, skipped)]
    if not pictures:
        raise PictureError(skipped[0] if skipped else "no pictures given")
    return tuple(pictures), tuple(skipped)


def given(sources: "Sequence[Source] | Source") -> bool:
    """Say whether there are any sources: everything but None and an empty list."""
    return sources is not None and (not isinstance(sources, list | tuple) or len(sources) > 0)


def reader(spec: InputSpec) -> "Callable[[Source], Picture]":
    """Return what reads one source; it raises PictureError for bands the network cannot take too."""
    return lambda source: as_picture(source).checked(spec)


def expand(sources: "Iterable[Source] | Source") -> Iterator[Any]:
    """Yield the sources with each folder replaced by the picture files below it."""
    single = isinstance(sources, str | Path | Picture) or not isinstance(sources, Iterable) or hasattr(sources, "shape")
    for source in [sources] if single else sources:  # type: ignore[union-attr]
        if isinstance(source, str | Path):
            yield from find_pictures([source])
        else:
            yield source


def batches(sources: Iterable[S], read: Callable[[S], T], size: int, skipped: list[str]) -> Iterator[list[T]]:
    """Yield what `read` makes of up to `size` sources at a time; add the sentence of each PictureError to `skipped`."""
    loaded: list[T] = []
    for source in sources:
        try:
            loaded.append(read(source))
        except PictureError as error:
            skipped.append(str(error))
            continue
        if len(loaded) == size:
            yield loaded
            loaded = []
    if loaded:
        yield loaded


def find_pictures(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files named, and for each folder the picture files below it, sorted, one folder after the other.

    Folders that are links are followed, each once; hidden files and folders are left out. A folder without any picture
    file, or below one that cannot be listed, is yielded itself, so that reading it says so.
    """
    for path in map(Path, paths):
        if not os.path.isdir(path):  # Path.is_dir raises for names that are too long
            yield path
            continue
        empty = True
        for file in _walk(path):
            empty = False
            yield file
        if empty:
            yield path


def _walk(root: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    # Not by recursion: folders may be nested deeper than Python's stack.
    levels = [_listing(root, seen)]
    while levels:
        for path, folder in levels[-1]:
            if folder:
                levels.append(_listing(path, seen))
                break
            yield path
        else:
            levels.pop()


def _listing(folder: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, bool]]:
    """Yield the pictures and folders of one folder, and whether it is a folder; nothing of one already seen."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder, False
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        inside = _is_folder(entry)
        if inside or os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield folder / entry.name, inside


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False
