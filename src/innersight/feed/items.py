"""Where pictures come from, one after the other: folders, tar files, data sets; nothing is read yet."""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from innersight.errors import printable
from innersight.feed.archive import Member, members, one
from innersight.feed.dataset import (
    Content,
    Label,
    apart,
    class_names,
    content,
    content_bytes,
    entry,
    gathered,
    is_dataset,
    numbered,
    rows,
)
from innersight.feed.named import opened
from innersight.files import find_pictures
from innersight.image import Picture, PictureError, load_picture

_ENTRY = re.compile(r"((?:(?:hf|python):.+)?)#(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """A picture that was not read yet.

    number : its place among all. name : for people, and to find it again. path : of its file, if it has one of its own.
    label : name or number of its class, as given. load : reads it. bytes : what tells whether it changed. stamp : a
    text that changes when it may have changed, cheap to get; "" where nothing cheap tells. row : the entry of a data
    set that it comes from, else None.
    """

    number: int
    name: str
    path: Path | None
    label: Label
    load: Callable[[], Content]
    bytes: Callable[[], bytes]
    stamp: Callable[[], str] = str
    row: Any = None

    def digest(self) -> str:
        """Return a digest of the content; "" where it cannot be read."""
        try:
            return hashlib.blake2b(self.bytes(), digest_size=16).hexdigest()
        except (OSError, PictureError):
            return ""


def items(pictures: Any, classes: Collection[str] = ()) -> Iterator[Item]:
    """Yield the pictures of files, folders, `.tar` files or of one data set, in their order.

    A data set is anything with `len` and numbered entries, or a stream of entries: of torch, of Hugging Face
    `datasets`, of `webdataset`; a list too, where it holds other things than names. Its entries are pictures, (picture,
    label), or dicts with `image`, `img`, or an ending such as `png`, and perhaps `label` or `cls`. A picture is a PIL
    image, an array, a file's name or bytes, uint8 pixels (C, H, W), or the network's own input as a float Tensor
    (C, H, W).

    The label of a file is the name of its folder, of a file in a tar file what its `.cls` says. The folder that was
    named itself is a label only where it is one of `classes`.
    """
    pictures = gathered(pictures)
    if is_dataset(pictures):
        return _of_dataset(pictures)
    return _of_files([pictures] if isinstance(pictures, str | Path) else pictures, classes)


def _of_files(paths: Iterable[str | Path], classes: Collection[str]) -> Iterator[Item]:
    number = 0
    for given in map(Path, paths):
        for path in _with_shards(given):
            tar = path.suffix.lower() == ".tar" and not os.path.isdir(path)
            for item in _of_tar(number, path) if tar else [_of_file(number, path, given, classes)]:
                yield item
                number += 1


def _with_shards(given: Path) -> Iterator[Path]:
    """Yield the pictures of a folder, or its `.tar` files where it has no pictures."""
    for path in find_pictures([given]):
        yield from (sorted(path.glob("*.tar")) if os.path.isdir(path) else ()) or [path]


def _of_file(number: int, path: Path, given: Path, classes: Collection[str]) -> Item:
    label = os.path.basename(os.path.abspath(path.parent))
    inside = given not in (path, path.parent)
    return Item(
        number, os.fspath(path), path, label if inside or label in classes else None,
        partial(load_picture, path), path.read_bytes, partial(_stamp, path),
    )  # fmt: skip


def again(name: str) -> Item:
    """Return the picture of this name: of a file, inside of a tar file, or of a data set that has a name.

    Raises PictureError where it is gone.
    """
    entry = _ENTRY.fullmatch(name)
    if entry and not os.path.exists(name):
        return _of_named(entry[1], int(entry[2]))
    if ".tar/" not in name.lower() or os.path.isfile(name):
        return _of_file(0, Path(name), Path(name), ())
    return _of_member(0, one(name))


def _of_named(text: str, number: int) -> Item:
    name = f"{printable(text)}#{number}"
    if not text:
        raise PictureError(f"{name}: an entry of a data set; crops can be made where that is given, after the scan")
    try:
        found = opened(text)
        if not numbered(found.rows):
            raise PictureError(f"{name}: an entry of a stream; crops can be made after the scan, where that is at hand")
        return next(entries(found, [number]))
    except PictureError:
        raise
    except Exception as error:  # of a library or the user's own code
        raise PictureError(f"{name}: cannot be had again ({printable(error)})") from error


def _of_member(number: int, member: Member) -> Item:
    return Item(number, member.name, None, member.label, member.load, partial(getattr, member, "data"), member.stamp)


def _of_tar(number: int, path: Path) -> Iterator[Item]:
    try:
        for member in members(path):
            yield _of_member(number, member)
            number += 1
    except PictureError as error:
        # What was read before stays: the rest is one more file that cannot be read.
        yield Item(number, os.fspath(path), None, None, partial(_fail, error), bytes)


def _fail(error: PictureError) -> Content:
    raise error


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _of_dataset(dataset: Any) -> Iterator[Item]:
    text, dataset = apart(dataset)
    names = class_names(dataset)
    entries = rows(dataset)
    for number in count():
        name = f"{text}#{number}"
        try:
            row = next(entries)
        except StopIteration:
            return
        except Exception as error:
            # One entry that cannot be read is like a file that cannot; a stream that failed has ended.
            if not numbered(dataset):
                raise
            broken = PictureError(f"{name}: the data set gives no entry ({type(error).__name__}: {printable(error)})")
            yield Item(number, name, None, None, partial(_fail, broken), bytes)
            continue
        yield _of_entry(number, row, names, text)


def entries(dataset: Any, numbers: Sequence[int]) -> Iterator[Item]:
    """Yield entries of a data set by their numbers, which rise; a stream is read from its beginning.

    Raises PictureError for a stream that ends before the last of them.
    """
    text, dataset = apart(dataset)
    names = class_names(dataset)
    if numbered(dataset):
        yield from (_of_entry(number, dataset[number], names, text) for number in numbers)
        return
    wanted, found = set(numbers), 0
    for number, row in enumerate(islice(rows(dataset), numbers[-1] + 1 if numbers else 0)):
        if number in wanted:
            found += 1
            yield _of_entry(number, row, names, text)
    if found < len(wanted):
        raise PictureError(f"#{numbers[-1]}: the stream ends before it now")


def _of_entry(number: int, row: Any, names: Sequence[str] | None, text: str) -> Item:
    picture, label = entry(row, number)
    if names is not None and isinstance(label, int) and 0 <= label < len(names):
        label = names[label]
    if isinstance(picture, str | Path):
        return replace(_of_file(number, Path(picture), Path(picture), ()), label=label, row=row)
    name = picture.name if isinstance(picture, Picture) else f"{text}#{number}"
    load, read = partial(content, picture, name), partial(content_bytes, picture, name)
    return Item(number, name, None, label, load, read, row=row)
