"""Pictures in `.tar` files, as WebDataset lays them out: files of one name make a sample, `.cls` is its class."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
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
        found = path.stat()
        written = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        with tarfile.open(path, "r|*") as tar:
            for parts in _samples(tar):
                label = next((data for name, data in parts if name.lower().endswith(".cls")), None)
                text = None if label is None else label.decode("utf-8", "replace").strip()
                for name, data in parts:
                    if os.path.splitext(name)[1].lower() in SUFFIXES:
                        yield Member(f"{path}/{name}", data, text, written)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PictureError(f"{printable(path)}: cannot be read as a tar file ({printable(error)})") from error


def one(name: str) -> Picture:
    """Read the picture `TAR/MEMBER` again. Raises PictureError where it is gone."""
    whole = Path(name)
    for folder in whole.parents:
        if folder.suffix.lower() == ".tar" and folder.is_file():
            inside = name[len(os.fspath(folder)) + 1 :]
            try:
                with tarfile.open(folder) as tar:
                    file = tar.extractfile(inside)
                    data = None if file is None else file.read()
            except KeyError:
                break
            except (tarfile.TarError, EOFError, OSError) as error:
                raise PictureError(f"{printable(name)}: cannot be read again ({printable(error)})") from error
            if data is not None:
                return decode_picture(data, name)
    raise PictureError(f"{printable(name)}: no longer there")


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
