"""Where the pictures of a scan come from, one after the other: folders, tar files, data sets; decoded in threads."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.files import find_pictures
from innersight.image import PictureError, load_picture
from innersight.model import InputSpec, Model
from innersight.scan.archive import Member, members, one
from innersight.scan.dataset import (
    Content,
    Label,
    class_names,
    content,
    content_bytes,
    entry,
    is_dataset,
    numbered,
    rows,
)

GROUP = 8  # pictures decoded by one call of a worker
AHEAD = 4  # such groups waiting for each worker
T = TypeVar("T")


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


@dataclass(frozen=True, eq=False)
class Loaded:
    """A picture that was read, or the reason why not.

    values : (H, W, C) uint8 or float32 in 0..1, or the network's input (C, H, W) as a Tensor; None with `broken`.
    """

    item: Item
    values: np.ndarray | Tensor | None
    broken: str | None
    digest: str
    stamp: str


def items(pictures: Any, classes: Collection[str] = ()) -> Iterator[Item]:
    """Yield the pictures of files, folders, `.tar` files or of one data set, in their order.

    A data set is anything with `len` and numbered entries, or a stream of entries: of torch, of Hugging Face
    `datasets`, of `webdataset`. Its entries are pictures, (picture, label), or dicts with `image`, `img`, or an ending
    such as `png`, and perhaps `label` or `cls`. A picture is a PIL image, an array, the bytes of a file, uint8 pixels
    (C, H, W), or the network's own input as a float Tensor (C, H, W).

    The label of a file is the name of its folder, of a file in a tar file what its `.cls` says. The folder that was
    named itself is a label only where it is one of `classes`.
    """
    if is_dataset(pictures):
        return _of_dataset(pictures)
    return _of_files([pictures] if isinstance(pictures, str | Path) else pictures, classes)


def _of_files(paths: Iterable[str | Path], classes: Collection[str]) -> Iterator[Item]:
    number = 0
    for given in map(Path, paths):
        for path in find_pictures([given]):
            tar = path.suffix.lower() == ".tar" and not os.path.isdir(path)
            for item in _of_tar(number, path) if tar else [_of_file(number, path, given, classes)]:
                yield item
                number += 1


def _of_file(number: int, path: Path, given: Path, classes: Collection[str]) -> Item:
    label = os.path.basename(os.path.abspath(path.parent))
    inside = given not in (path, path.parent)
    return Item(
        number, os.fspath(path), path, label if inside or label in classes else None,
        partial(load_picture, path), path.read_bytes, partial(_stamp, path),
    )  # fmt: skip


def again(name: str) -> Item:
    """Return the picture of this name, of a file or inside of a tar file. Raises PictureError where it is gone."""
    if name.startswith("#") and not os.path.exists(name):
        raise PictureError(f"{name}: an entry of a data set; crops can be made where that is given, after the scan")
    if ".tar/" not in name.lower() or os.path.isfile(name):
        return _of_file(0, Path(name), Path(name), ())
    return _of_member(0, one(name))


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
    names = class_names(dataset)
    entries = rows(dataset)
    for number in count():
        name = f"#{number}"
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
        yield _of_entry(number, row, names)


def entries(dataset: Any, numbers: Sequence[int]) -> Iterator[Item]:
    """Yield entries of a data set by their numbers, which rise; a stream is read from its beginning.

    Raises PictureError for a stream that ends before the last of them.
    """
    names = class_names(dataset)
    if numbered(dataset):
        yield from (_of_entry(number, dataset[number], names) for number in numbers)
        return
    wanted, found = set(numbers), 0
    for number, row in enumerate(islice(rows(dataset), numbers[-1] + 1 if numbers else 0)):
        if number in wanted:
            found += 1
            yield _of_entry(number, row, names)
    if found < len(wanted):
        raise PictureError(f"#{numbers[-1]}: the stream ends before it now")


def _of_entry(number: int, row: Any, names: Sequence[str] | None) -> Item:
    name = f"#{number}"
    picture, label = entry(row, number)
    if names is not None and isinstance(label, int) and 0 <= label < len(names):
        label = names[label]
    load, read = partial(content, picture, name), partial(content_bytes, picture, name)
    return Item(number, name, None, label, load, read, row=row)


def stream(source: Iterable[Item], spec: InputSpec, workers: int, *, digests: bool) -> Generator[Loaded, None, None]:
    """Yield what was read, in order; see `ahead`."""
    return ahead(source, lambda item: _load(item, spec, digests), workers)


def threads(workers: int | None) -> int:
    """Return how many threads decode: one for each core, up to 4, when None. Raises InnersightError below 0."""
    if workers is not None and workers < 0:
        raise InnersightError(f"workers is {workers}: name how many threads decode, or 0 for none")
    return min(4, os.cpu_count() or 1) if workers is None else workers


def ahead(source: Iterable[Item], read: Callable[[Item], T], workers: int) -> Generator[T, None, None]:
    """Yield what `read` makes of each, in order; `workers` threads read ahead of what is asked for (none: when asked).

    Threads and not processes: decoding and scaling let go of Python's lock, and nothing has to be copied.
    """

    def several(group: list[Item]) -> list[T]:
        return [read(item) for item in group]

    groups = _grouped(source)
    if not workers:
        for group in groups:
            yield from several(group)
        return
    with _pool(workers) as pool:
        waiting: deque[Future[list[T]]] = deque(pool.submit(several, g) for g in islice(groups, AHEAD * workers))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(several, group) for group in islice(groups, 1))
            yield from done


def _grouped(source: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(source)
    while group := list(islice(rest, GROUP)):
        yield group


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _load(item: Item, spec: InputSpec, digests: bool) -> Loaded:
    stamp = item.stamp() if digests else ""
    try:
        found = item.load()
        values: np.ndarray | Tensor = _checked(found, item, spec) if isinstance(found, Tensor) else found.values(spec)
    except PictureError as error:
        return Loaded(item, None, str(error), item.digest() if digests else "", stamp)
    return Loaded(item, values, None, item.digest() if digests else "", stamp)


def _checked(tensor: Tensor, item: Item, spec: InputSpec) -> Tensor:
    if tuple(tensor.shape) != spec.shape:
        raise PictureError(
            f"{printable(item.name)}: a Tensor of {tuple(tensor.shape)} where the network takes {spec.shape}; "
            "give what the network takes, or a PIL image"
        )
    return tensor


def network_input(loaded: Sequence[Loaded], model: Model) -> Tensor:
    """Return the pictures as one batch (B, C, H, W) in the layout in which convolutions are fastest on CPUs."""
    arrays = [one.values for one in loaded]
    if all(isinstance(array, np.ndarray) and array.dtype == np.uint8 for array in arrays):
        pixels = torch.from_numpy(np.stack(arrays)).to(model.device).float().div_(255.0)  # type: ignore[arg-type]
        x = model.input.normalise(pixels.permute(0, 3, 1, 2))
    else:
        x = torch.stack([_single(array, model.input) for array in arrays]).to(model.device)
    return x.to(model.dtype).to(memory_format=torch.channels_last)


def _single(values: np.ndarray | Tensor | None, spec: InputSpec) -> Tensor:
    assert values is not None
    if isinstance(values, Tensor):
        return values.float()
    scaled = values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values
    return spec.normalise(torch.from_numpy(scaled).permute(2, 0, 1)[None])[0]
