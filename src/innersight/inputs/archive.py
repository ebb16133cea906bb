"""Images in tar files, as WebDataset lays them out: files of one name make a sample, `.cls` is its class."""

import bz2
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from innersight.errors import printable
from innersight.image import SUFFIXES, Image, ImageError, decode_image
from innersight.inputs.files import is_tar

LARGEST = 1 << 30
"""Bytes of a member beyond which it is no image but a damaged header."""

# What tarfile and the libraries below it raise for damaged files; headers may state sizes that no memory holds.
BROKEN = (
    tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, MemoryError, OverflowError,
    RecursionError,
)  # fmt: skip
_PACKED: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open), (b"]\x00\x00", lzma.open)
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Member:
    """An image inside a tar file.

    name : TAR/MEMBER. data : the file; None where its header states more than 1 GiB. label : what its `.cls` says, name
    or number, or None. written : size and time of the tar file.
    """

    name: str
    data: bytes | None
    label: str | None
    written: str

    def load(self) -> Image:
        """Decode it. Raises ImageError."""
        return decode_image(self.content(), self.name)

    def content(self) -> bytes:
        """Return the file's bytes. Raises ImageError where they are too many."""
        if self.data is None:
            raise ImageError(
                f"{printable(self.name)}: its header declares more than {LARGEST:,} bytes: the file is damaged"
            )
        return self.data

    def stamp(self) -> str:
        """Return size and time of the tar file."""
        return self.written


class _Archive(tarfile.TarFile):
    """A tar file that remembers what was no header: tarfile itself ends there as if the archive did.

    bad : where the first block is that should have been a header. ended : whether an empty block followed the last
    file, as it has to. files : how many headers were read.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.bad: int | None = None
        self.ended = False
        self.files = 0
        super().__init__(*arguments, **named)

    def each(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members in order and keep none."""
        while (info := self.next()) is not None:
            self.members.clear()  # type: ignore[attr-defined]
            yield info


class _Header(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        try:
            found = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.ended = True
            raise
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            archive.bad = archive.offset if archive.bad is None else archive.bad
            raise
        archive.ended = False
        archive.files += 1
        return found


def members(path: Path) -> Iterator[Member]:
    """Yield the images of a tar file in its order, read once from beginning to end; it may be compressed.

    A sample is a run of files whose names agree up to the first dot of the last part. Nothing is unpacked to the disk.
    After what is no header the next header is looked for. Raises ImageError at the end, when all that can be read was
    yielded, for a file that is no tar file, is cut off or damaged, or changed meanwhile.
    """
    shown = printable(path)
    try:
        written = _written(path)
        with ExitStack() as stack:
            tar = _opened(path, stack)
            yield from _samples(tar, path, written)
            if tar.bad == 0 and not tar.files:
                raise ImageError(f"{shown}: cannot be read as a tar file (its first block is not a header)")
            if tar.bad is not None:
                raise ImageError(f"{shown}: damaged or cut off at byte {tar.bad:,}: later files may be missing")
            if not tar.ended:
                raise ImageError(f"{shown}: has no end: it was cut off between two files, or is still being written")
        if _written(path) != written:
            raise ImageError(f"{shown}: changed while it was read; read it again when it is no longer written to")
    except BROKEN as error:
        raise error if isinstance(error, ImageError) else _unreadable(path, error) from error


def one(name: str) -> Member:
    """Read the image `TAR/MEMBER` again, without its label. Raises ImageError where it is gone."""
    for file in Path(name).parents:
        if is_tar(file) and file.is_file():
            inside = name[len(os.fspath(file)) + 1 :]
            try:
                written = _written(file)
                with ExitStack() as stack:
                    place = _index(file, written).get(inside)
                    if place is None:
                        break
                    stream = _stream(file, stack)
                    stream.seek(place[0])
                    data = stream.read(place[1])
            except BROKEN as error:
                raise ImageError(f"{printable(name)}: cannot be read again ({printable(error)})") from error
            return Member(name, data, None, written)
    raise ImageError(f"{printable(name)}: the file has been removed")


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(f"{printable(path)}: cannot be read as a tar file any further ({printable(error)})")


def _written(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _stream(path: Path, stack: ExitStack) -> Any:
    """Open a file, unpacked. Compressed ones too come without tarfile's stream, which takes a cut for an end."""
    file = stack.enter_context(path.open("rb"))
    head = file.read(6)
    file.seek(0)
    packed = next((opener for magic, opener in _PACKED if head.startswith(magic)), None)
    return file if packed is None else stack.enter_context(packed(file, "rb"))


def _opened(path: Path, stack: ExitStack) -> _Archive:
    return stack.enter_context(_Archive(fileobj=_stream(path, stack), tarinfo=_Header, ignore_zeros=True))


@lru_cache(4)
def _index(path: Path, written: str) -> dict[str, tuple[int, int]]:
    """Return where each member is, and its size; kept, as reading the headers takes longer than one image.

    Of a file that is cut off or damaged it has what comes before, and after.
    """
    found: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        try:
            for info in _opened(path, stack).each():
                if info.isfile():
                    found[info.name] = info.offset_data, info.size
        except BROKEN:
            pass  # what was cut off was reported when the file was gone through
    return found


def _samples(tar: _Archive, path: Path, written: str) -> Iterator[Member]:
    key, parts = "", list[tuple[str, bytes | None]]()
    try:
        for info in tar.each():
            if info.isfile():
                folder, base = os.path.split(info.name)
                own = f"{folder}/{base.split('.')[0]}"
                if own != key and parts:
                    yield from _members(parts, path, written)
                    parts = []
                key = own
                parts.append((info.name, _content(tar, info)))
    except BROKEN:
        yield from _members(parts, path, written)
        raise
    yield from _members(parts, path, written)


def _content(tar: _Archive, info: tarfile.TarInfo) -> bytes | None:
    """Return what a member holds, nothing of those that are neither images nor labels; None of one too large."""
    ending = os.path.splitext(info.name)[1].lower()
    if ending != ".cls" and ending not in SUFFIXES:
        return b""
    if info.size > LARGEST:
        return None
    file = tar.extractfile(info)
    return file.read() if file else b""


def _members(parts: list[tuple[str, bytes | None]], path: Path, written: str) -> Iterator[Member]:
    label = next((data for name, data in parts if data is not None and name.lower().endswith(".cls")), None)
    text = None if label is None else label.decode("utf-8", "replace").strip()
    for name, data in parts:
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            yield Member(f"{path}/{name}", data, text, written)
