"""Images read ahead by threads, in order, and stacked to what the network takes."""

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, printable
from innersight.image import Image, ImageError
from innersight.input_spec import InputSpec
from innersight.inputs.entry import ImageEntry, chosen, entries, shuffled
from innersight.inputs.kinds import given
from innersight.inputs.labels import class_of, label_notes
from innersight.inputs.tensors import Assumed
from innersight.model import Model

GROUP = 8  # images decoded by one call of a worker
AHEAD = 4  # such groups waiting for each worker
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Loaded:
    """An image that was read, or the reason why not.

    values : (H, W, C) uint8 or float32 in 0..1, or the network's input (C, H, W) as a Tensor; None with `broken`.
    name : for people. size : (height, width) of the whole image.
    """

    entry: ImageEntry
    values: np.ndarray | Tensor | None
    broken: str | None
    digest: str = ""
    stamp: str = ""
    name: str = ""
    size: tuple[int, int] | None = None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Images:
    """Images that were read and are held.

    images : in order. numbers : the place of each among the `given` images, some of which may not have been read.
    skipped : one sentence for each that could not be read, or that the network cannot take. notes : how labels were
    read, and what was assumed of tensors.
    """

    images: tuple[Image, ...]
    numbers: tuple[int, ...]
    given: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...]

    __repr__ = brief


class ImageReader:
    """Images while they are read: iterate once, then see what was skipped and how they were understood.

    Nothing is held but what the threads read ahead.
    """

    def __init__(
        self,
        images: Any,
        spec: InputSpec,
        labels: Sequence[str] = (),
        *,
        numbers: Sequence[int] | None = None,
        shuffle: int | None = None,
        workers: int | None = None,
        required: bool = True,
    ) -> None:
        """Take images as in `entries`.

        labels : the network's classes. numbers : of those to read, rising; all when None. shuffle : seed of a random
        order. workers : threads that decode, see `threads`. required : raise ImageError at the end where none could be
        read.
        """
        self._given, self._spec, self._labels = given(images), spec, tuple(labels)
        self._numbers, self._shuffle = numbers, shuffle
        self._workers, self._required = threads(workers), required
        self.errors: list[ImageError] = []
        self._assumed = Assumed(spec)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._folders: set[str] = set()

    @property
    def skipped(self) -> tuple[str, ...]:
        """One sentence for each image that could not be read."""
        return tuple(map(str, self.errors))

    @property
    def notes(self) -> tuple[str, ...]:
        """How labels were read, and what was assumed of tensors."""
        labels = label_notes(self._counts, self._folders, self._labels)
        return (*self._given.notes, *self._assumed.notes(), *labels)

    def skip(self, entry: ImageEntry, sentence: str) -> None:
        """Leave out an image that was read, with a sentence that follows its name."""
        self.errors.append(ImageError(f"{printable(entry.name)}: {sentence}"))

    def __iter__(self) -> Iterator[Loaded]:
        """Yield what could be read."""
        return self.each(partial(_loaded, spec=self._spec))

    def batches(self, size: int) -> Iterator[list[Loaded]]:
        """Yield up to `size` images at a time."""
        return batched(iter(self), size)

    def images(self) -> Generator[Image, None, None]:
        """Yield what could be read as Images, which hold the whole image."""
        return self.each(partial(_image, spec=self._spec), group_size=1)

    def numbered(self) -> Generator[tuple[int, Image], None, None]:
        """Yield what could be read as Images, each with its place among all that was given."""
        return self.each(lambda entry: (entry.number, _image(entry, self._spec)), group_size=1)

    def each(self, read: Callable[[ImageEntry], T], group_size: int = GROUP) -> Generator[T, None, None]:
        """Yield what `read` makes of each entry; an image for which it raises ImageError is skipped.

        group_size : see `ahead`.
        """

        def tried(entry: ImageEntry) -> tuple[ImageEntry, T | ImageError]:
            try:
                return entry, read(entry)
            except ImageError as error:
                return entry, error

        read_ = 0
        with closing(ahead(self._entries(), tried, self._workers, group_size)) as found:
            for entry, one in found:
                if isinstance(one, ImageError):
                    self.errors.append(one)
                else:
                    self._count(entry)
                    read_ += 1
                    yield one
        if self._required and not read_:
            raise self.errors[0] if self.errors else ImageError("no images given")

    def _entries(self) -> Iterator[ImageEntry]:
        own, labels = self._given, self._labels
        if self._shuffle is not None:
            each = shuffled(own, self._shuffle, labels)
        else:
            each = entries(own, labels) if self._numbers is None else chosen(own, self._numbers, labels)
        return map(self._assumed.add, each)

    def _count(self, entry: ImageEntry) -> None:
        if entry.label is not None and self._labels:
            label = str(entry.label)
            self._counts[label, class_of(entry.label, self._labels)] += 1
            if entry.folder:
                self._folders.add(label)


def read(images: Any, spec: InputSpec, labels: Sequence[str] = ()) -> Images:
    """Return every image that can be read, held in memory, and a sentence for each other one.

    See `entries` for what is taken. labels : the network's classes. Raises ImageError when none could be read.
    """
    reading = ImageReader(images, spec, labels)
    found = dict(reading.numbered())
    count = len(found) + len(reading.skipped)
    return Images(tuple(found.values()), tuple(found), count, reading.skipped, reading.notes)


def read_one(image: Any, spec: InputSpec, name: str = "image") -> Image:
    """Return one image. Raises ImageError where it cannot be read, or is several."""
    found = list(islice(ImageReader(image, spec, required=False, workers=0)._entries(), 2))
    if len(found) != 1:
        raise ImageError(f"{name}: give one image, not {'several' if found else 'none'}")
    return found[0].load(spec).checked(spec)


def stream(
    source: Iterable[ImageEntry], spec: InputSpec, workers: int, *, digests: bool, least: int = 1
) -> Generator[Loaded, None, None]:
    """Yield what was read, in order; see `ahead` and `load`."""
    return ahead(source, lambda entry: load(entry, spec, digests=digests, least=least), workers)


def load(entry: ImageEntry, spec: InputSpec, *, digests: bool = False, least: int = 1) -> Loaded:
    """Read one image, or say why it cannot be read.

    digests : also its stamp and digest. least : pixels that each side must have.
    """
    stamp = entry.stamp() if digests else ""
    try:
        loaded = _loaded(entry, spec, least)
    except ImageError as error:
        loaded = Loaded(entry, None, str(error))
    return replace(loaded, digest=entry.digest() if digests else "", stamp=stamp)


def _loaded(entry: ImageEntry, spec: InputSpec, least: int = 1) -> Loaded:
    found = entry.load(spec).checked(spec)
    least = min(least, spec.height, spec.width)
    if min(found.width, found.height) < least:
        raise ImageError(
            f"{printable(entry.name)}: {found.width}x{found.height} pixels are too small; each side needs at least "
            f"{least}"
        )
    return Loaded(entry, found.values(spec), None, name=found.name, size=(found.height, found.width))


def _image(entry: ImageEntry, spec: InputSpec) -> Image:
    found = entry.load(spec).checked(spec)
    same = entry.label is None or (found.label, found.folder) == (entry.label, entry.folder)
    return found if same else replace(found, label=entry.label, folder=entry.folder)


def threads(workers: int | None) -> int:
    """Return how many threads decode: one for each core, up to 4, when None. Raises InnersightError below 0."""
    if workers is not None and workers < 0:
        raise InnersightError(f"workers={workers}: give the number of threads that decode, or 0 for none")
    return min(4, os.cpu_count() or 1) if workers is None else workers


def ahead(
    source: Iterable[ImageEntry], read: Callable[[ImageEntry], T], workers: int, group_size: int = GROUP
) -> Generator[T, None, None]:
    """Yield what `read` makes of each, in order; `workers` threads read ahead of what is asked for (none: when asked).

    group_size : read by one call of a worker, of which four wait for each; 1 where whole images are held.
    Threads and not processes: decoding and scaling let go of Python's lock, and nothing has to be copied.
    """

    def several(group: list[ImageEntry]) -> list[T]:
        return [read(entry) for entry in group]

    groups = batched(iter(source), group_size)
    first = list(islice(groups, 2 if workers else 0))
    # A single group has no other to be read beside it.
    if len(first) < 2:
        for group in chain(first, groups):
            yield from several(group)
        return
    with _pool(workers) as pool:
        begun = chain(first, islice(groups, AHEAD * workers - len(first)))
        waiting: deque[Future[list[T]]] = deque(pool.submit(several, group) for group in begun)
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(several, group) for group in islice(groups, 1))
            yield from done


def batched(each: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield up to `size` at a time."""
    while group := list(islice(each, size)):
        yield group


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def network_input(
    loaded: Sequence[Loaded], model: Model, read_for: InputSpec | None = None, spec: InputSpec | None = None
) -> Tensor:
    """Return the images as one batch (B, C, H, W) in the layout in which convolutions are fastest on CPUs.

    read_for : the input contract that they were read for, and spec : that whose mean and std they are normalised by;
    the model's own when None.
    """
    own, fed = read_for or model.input, spec or model.input
    arrays = [one.values for one in loaded]
    if all(isinstance(array, np.ndarray) and array.dtype == np.uint8 for array in arrays):
        pixels = torch.from_numpy(np.stack(arrays)).to(model.device).float().div_(255.0)  # type: ignore[arg-type]
        x = fed.normalise(pixels.permute(0, 3, 1, 2))
    else:
        x = torch.stack([_single(array, own, fed) for array in arrays]).to(model.device)
    return x.to(model.dtype).to(memory_format=torch.channels_last)


def _single(values: np.ndarray | Tensor | None, own: InputSpec, fed: InputSpec) -> Tensor:
    assert values is not None
    if isinstance(values, Tensor):
        same = (own.mean, own.std) == (fed.mean, fed.std)
        return values.float() if same else fed.normalise(own.denormalise(values[None].float()))[0]
    scaled = values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values
    return fed.normalise(torch.from_numpy(scaled).permute(2, 0, 1)[None])[0]
