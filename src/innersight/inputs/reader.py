"""Images while they are read, what was skipped of them, and how they were understood."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from innersight.brief import brief
from innersight.errors import printable
from innersight.image import Image, ImageError
from innersight.input_spec import InputSpec
from innersight.inputs.entry import ImageEntry, entries
from innersight.inputs.kinds import given
from innersight.inputs.labels import class_of, label_notes
from innersight.inputs.numbers import chosen, shuffled
from innersight.inputs.reading import GROUP, Loaded, ahead, batched, read_entry, threads
from innersight.inputs.tensors import Assumed

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Images:
    """Images that were read and are held.

    Attributes
    ----------
    images : tuple of Image
        In order.
    numbers : tuple of int
        The place of each among all that were given, some of which may not have been read.
    given : int
        How many were given.
    skipped : tuple of str
        One sentence for each that could not be read, or that the network cannot take.
    notes : tuple of str
        How labels were read, and what was assumed of tensors.

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

    Parameters
    ----------
    images
        Whatever holds images, see `entries`.
    spec
        The network's input contract.
    labels
        The network's classes.
    numbers
        Of the images to read, rising; all when None.
    shuffle
        Seed of a random order; in their own order when None.
    workers
        Threads that decode, see `threads`.
    required
        Raise ImageError at the end where none could be read.

    Raises
    ------
    InnersightError
        For what holds no images, for several data sets, and for a negative number of threads.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> reading = inputs.ImageReader([torch.zeros(3, 8, 8, dtype=torch.uint8), "gone.png"], ins.InputSpec(8, 8))
    >>> [loaded.values.shape for loaded in reading], reading.skipped
    ([(8, 8, 3)], ('gone.png: no such file',))

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
        """Leave out an image that was read.

        Parameters
        ----------
        entry
            Of the image.
        sentence
            Why, as it follows the image's name.

        """
        self.errors.append(ImageError(f"{printable(entry.name)}: {sentence}"))

    def __iter__(self) -> Iterator[Loaded]:
        """Yield what could be read."""
        return self.each(partial(read_entry, spec=self._spec))

    def batches(self, size: int) -> Iterator[list[Loaded]]:
        """Yield what could be read, several images at a time.

        Parameters
        ----------
        size
            Images in a batch; the last may have fewer.

        """
        return batched(iter(self), size)

    def images(self) -> Generator[Image, None, None]:
        """Yield what could be read as Images, which hold the whole image."""
        return self.each(partial(_image, spec=self._spec), group_size=1)

    def numbered(self) -> Generator[tuple[int, Image], None, None]:
        """Yield what could be read as Images, each with its place among all that was given."""
        return self.each(lambda entry: (entry.number, _image(entry, self._spec)), group_size=1)

    def each(self, read: Callable[[ImageEntry], T], group_size: int = GROUP) -> Generator[T, None, None]:
        """Yield what a function makes of each entry; an image for which it raises ImageError is skipped.

        Parameters
        ----------
        read
            From an ImageEntry to what is yielded; called by the threads that decode.
        group_size
            See `ahead`.

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

    Parameters
    ----------
    images
        Whatever holds images, see `entries`.
    spec
        The network's input contract.
    labels
        The network's classes.

    Returns
    -------
    Images
        With what was skipped, and how they were understood.

    Raises
    ------
    ImageError
        When none could be read.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> found = inputs.read([torch.zeros(3, 8, 8, dtype=torch.uint8), "gone.png"], ins.InputSpec(8, 8))
    >>> len(found.images), found.skipped
    (1, ('gone.png: no such file',))

    """
    reading = ImageReader(images, spec, labels)
    found = dict(reading.numbered())
    count = len(found) + len(reading.skipped)
    return Images(tuple(found.values()), tuple(found), count, reading.skipped, reading.notes)


def read_one(image: Any, spec: InputSpec, name: str = "image") -> Image:
    """Return one image.

    Parameters
    ----------
    image
        What holds one image, see `entries`.
    spec
        The network's input contract.
    name
        What an error calls it.

    Returns
    -------
    Image
        Read, and fit for the network.

    Raises
    ------
    ImageError
        Where it cannot be read, has another number of bands than the network takes, or is several.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> inputs.read_one(torch.zeros(3, 8, 12, dtype=torch.uint8), ins.InputSpec(8, 8)).width
    12

    """
    found = list(islice(ImageReader(image, spec, required=False, workers=0)._entries(), 2))
    if len(found) != 1:
        raise ImageError(f"{name}: give one image, not {'several' if found else 'none'}")
    return found[0].load(spec).checked(spec)


def _image(entry: ImageEntry, spec: InputSpec) -> Image:
    found = entry.load(spec).checked(spec)
    same = entry.label is None or (found.label, found.folder) == (entry.label, entry.folder)
    return found if same else replace(found, label=entry.label, folder=entry.folder)
