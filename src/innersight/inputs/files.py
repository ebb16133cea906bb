"""Files: the images below folders, one after the other, and the files that a pattern such as `a/*.png` names."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from innersight.image import SUFFIXES
from innersight.storage.study_folder import DATABASES, FOLDERS

WRITTEN = frozenset(FOLDERS) - {"images"}  # folders of a study that hold pictures it made of others
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_tar(path: Path) -> bool:
    """Say whether a path is named like a tar file and is no folder."""
    return path.name.lower().endswith(TARS) and not os.path.isdir(path)


def find_images(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files named, and for each folder the image files below it, sorted, one folder after the other.

    Folders that are links are followed, each once; hidden files and folders are left out, and what a study that lies
    there or below has written, such as sheets of patterns. A folder without any image
    file, or below one that cannot be listed, is yielded itself, so that reading it reports this. A path that does not
    exist and holds `*`, `?` or `[` is a pattern; `**` stands for any folders.
    """
    for path in map(Path, paths):
        for named in _matches(path):
            yield from _files(named)


def _matches(path: Path) -> Iterator[Path]:
    pattern = os.fspath(path)
    if not glob.has_magic(pattern) or os.path.lexists(path):
        yield path
        return
    found = sorted(glob.glob(pattern, recursive=True))
    # The pattern itself is yielded where nothing matches: reading it reports that there is no such file.
    yield from map(Path, found or [pattern])


def _files(path: Path) -> Iterator[Path]:
    if not os.path.isdir(path):  # Path.is_dir raises for names that are too long
        yield path
        return
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
    """Yield the images and folders of one folder, and whether it is a folder; nothing of one already seen."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder, False
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    written = WRITTEN if {entry.name for entry in entries}.issuperset(DATABASES) else frozenset()
    for entry in entries:
        if entry.name.startswith(".") or entry.name in written:
            continue
        inside = _is_folder(entry)
        if inside or os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield folder / entry.name, inside


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False
