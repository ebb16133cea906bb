"""Pictures in `.tar` files, as WebDataset lays them out: files of one name make a sample, `.cls` is its class."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from innersight.errors import printable
from innersight.image import SUFFIXES, Picture, PictureError, decode_picture


@dataclass(frozen=True, eq=False)
class Member:
    """A picture inside a tar file. name : TAR/MEMBER. label : what its `.cls` says, name or number, or None."""

    name: str
    data: bytes
    label: str | None
    written: str

    def load(self) -> Picture:
        """Decode it. Raises PictureError."""
        return decode_picture(self.data, self.name)

    def stamp(self) -> str:
        """Return size and time of the tar file."""
        return self.written


def members(path: Path) -> Iterator[Member]:
    """Yield the pictures of a tar file in its order, read once from beginning to end.

    A sample is a run of files whose names agree up to the first dot of the last part. Nothing is unpacked to the disk.
    Raises PictureError for a file that is no tar file, or is cut off.
    """
    try:
        written = _written(path)
        with tarfile.open(path, "r|*") as tar:
            for parts in _samples(tar):
                label = next((data for name, data in parts if name.lower().endswith(".cls")), None)
                text = None if label is None else label.decode("utf-8", "replace").strip()
                for name, data in parts:
                    if os.path.splitext(name)[1].lower() in SUFFIXES:
                        yield Member(f"{path}/{name}", data, text, written)
        ended = _ended(path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PictureError(f"{printable(path)}: cannot be read as a tar file ({printable(error)})") from error
    if not ended:
        raise PictureError(f"{printable(path)}: has no end, as if it were cut off between two files, or still written")


def one(name: str) -> Member:
    """Read the picture `TAR/MEMBER` again, without its label. Raises PictureError where it is gone."""
    for folder in Path(name).parents:
        if folder.suffix.lower() == ".tar" and folder.is_file():
            inside = name[len(os.fspath(folder)) + 1 :]
            try:
                written = _written(folder)
                info = _index(folder, written).get(inside)
                if info is None:
                    break
                with tarfile.open(folder) as tar:
                    file = tar.extractfile(info)
                    data = b"" if file is None else file.read()
            except (tarfile.TarError, EOFError, OSError) as error:
                raise PictureError(f"{printable(name)}: cannot be read again ({printable(error)})") from error
            return Member(name, data, None, written)
    raise PictureError(f"{printable(name)}: no longer there")


def _written(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


@lru_cache(4)
def _index(path: Path, written: str) -> dict[str, tarfile.TarInfo]:
    """Return where each member is; kept, as reading the headers of a large file takes longer than one picture."""
    with tarfile.open(path) as tar:
        return {info.name: info for info in tar if info.isfile()}


def _ended(path: Path) -> bool:
    """Say whether a tar file has the two empty blocks that end it; one that is compressed has an end of its own."""
    try:
        tarfile.open(path, "r:").close()
    except tarfile.ReadError:
        return True
    with path.open("rb") as file:
        file.seek(-min(1024, path.stat().st_size), os.SEEK_END)
        last = file.read()
    return len(last) == 1024 and not any(last)


def _samples(tar: tarfile.TarFile) -> Iterator[list[tuple[str, bytes]]]:
    key, parts = "", list[tuple[str, bytes]]()
    for info in tar:
        if not info.isfile():
            continue
        folder, base = os.path.split(info.name)
        own = f"{folder}/{base.split('.')[0]}"
        if own != key and parts:
            yield parts
            parts = []
        key = own
        wanted = os.path.splitext(base)[1].lower()
        file = tar.extractfile(info) if wanted == ".cls" or wanted in SUFFIXES else None
        parts.append((info.name, file.read() if file else b""))
    if parts:
        yield parts
