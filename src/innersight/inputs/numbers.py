"""Entries by their numbers, in random order, and by their names."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from innersight.errors import printable
from innersight.image import Image, ImageError
from innersight.input_spec import InputSpec
from innersight.inputs.archive import one
from innersight.inputs.datasets import class_names, numbered
from innersight.inputs.entry import ImageEntry, entries, load_member, of_entry, of_file, of_member
from innersight.inputs.files import TARS
from innersight.inputs.kinds import given
from innersight.inputs.named import opened

BUFFER = 1024
_ENTRY = re.compile(r"((?:(?:hf|python):.+)?)#([0-9]{1,18})|image ([0-9]{1,18})", re.DOTALL)


def count(images: Any) -> int:
    """Return how many entries there are; what has no length is gone through.

    Parameters
    ----------
    images
        Whatever holds images, see `entries`.

    Returns
    -------
    int
        Files that cannot be read count too.

    Raises
    ------
    InnersightError
        As `entries` does.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> inputs.count(Drawn(per_class=3))
    30

    """
    own = given(images)
    return sum(1 for _ in entries(own)) if own.count is None else own.count


def chosen(images: Any, numbers: Sequence[int], labels: Sequence[str] = ()) -> Iterator[ImageEntry]:
    """Yield entries by their numbers; what has no numbers is gone through from its beginning.

    Parameters
    ----------
    images
        Whatever holds images, see `entries`.
    numbers
        Places among all, from 0, rising.
    labels
        The network's classes, see `entries`.

    Returns
    -------
    Iterator of ImageEntry
        One for each number.

    Raises
    ------
    ImageError
        Where there are fewer entries than the last number.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> [entry.label for entry in inputs.chosen(Drawn(per_class=1), [0, 2])]
    ['ambra', 'corvo']

    """
    own = given(images)
    if own.count is not None:
        names = class_names(own.dataset)
        yield from (of_entry(number, own.dataset[number], names, own.name) for number in numbers)
        return
    wanted, found = set(numbers), 0
    for entry in islice(entries(own, labels), numbers[-1] + 1 if numbers else 0):
        if entry.number in wanted:
            found += 1
            yield entry
    if found < len(wanted):
        raise ImageError(
            f"there is no image #{numbers[-1]} any more: the data has fewer images than when it was first read; leave "
            "it as it is until all is computed"
        )


def by_number(images: Any, labels: Sequence[str] = ()) -> Callable[[int], ImageEntry]:
    """Return a function that gives entries by their numbers, in any order.

    Parameters
    ----------
    images
        Whatever holds images, see `entries`. Of a stream, which has one order, all entries are held.
    labels
        The network's classes, see `entries`.

    Returns
    -------
    callable
        From the number of an entry, from 0, to the ImageEntry.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> entry = inputs.by_number(Drawn(per_class=1))
    >>> entry(2).label, entry(0).label
    ('corvo', 'ambra')

    """
    own = given(images)
    if own.count is not None:
        return lambda number: next(chosen(own, [number]))
    return [_light(entry) for entry in entries(own, labels)].__getitem__


def shuffled(images: Any, seed: int, labels: Sequence[str] = ()) -> Iterator[ImageEntry]:
    """Yield all entries in random order, without holding the images.

    Only of a stream, which has one order, at most BUFFER entries are held and drawn from.
    """
    rng, own = np.random.default_rng(seed), given(images)
    if own.count is not None:
        yield from map(by_number(own, labels), rng.permutation(own.count).tolist())
    elif own.things is not None:
        listed = [_light(entry) for entry in entries(own, labels)]
        yield from (listed[i] for i in rng.permutation(len(listed)))
    else:
        held: list[ImageEntry] = []
        for entry in entries(own, labels):
            held.append(entry)
            if len(held) > BUFFER:
                yield held.pop(int(rng.integers(len(held))))
        yield from (held[i] for i in rng.permutation(len(held)))


def again(name: str) -> ImageEntry:
    """Return the image of a name: of a file, inside of a tar file, or of a data set that has a name.

    Parameters
    ----------
    name
        As `ImageEntry.name` has it.

    Returns
    -------
    ImageEntry
        Numbered 0, without a label unless the data set gives one.

    Raises
    ------
    ImageError
        Where it is gone, or cannot be read again: entries of streams, and of data sets without a name.

    Examples
    --------
    >>> from innersight import inputs
    >>> inputs.again("cats/7.jpg").path.name
    '7.jpg'

    """
    entry = _ENTRY.fullmatch(name)
    if entry and not os.path.exists(name):
        return _of_named(entry[1] or "", int(entry[2] or entry[3]))
    if not any(f"{ending}/" in name.lower() for ending in TARS) or os.path.isfile(name):
        return of_file(0, Path(name), Path(name), ())
    return of_member(0, one(name), None)


def _of_named(text: str, number: int) -> ImageEntry:
    name = f"{printable(text)}#{number}"
    if not text:
        raise ImageError(
            f"{name}: an entry of a data set, which is not available: make crops right after the "
            "scan, with the data set"
        )
    try:
        found = opened(text)
        if not numbered(found.rows):
            raise ImageError(
                f"{name}: an entry of a stream, which cannot be read again: make crops right after the scan"
            )
        return next(chosen(found, [number]))
    except ImageError:
        raise
    except Exception as error:  # of a library or the user's own code
        raise ImageError(f"{name}: cannot be read again ({printable(error)})") from error


def _light(entry: ImageEntry) -> ImageEntry:
    """Return the entry of a tar file without the bytes, which are read again when they are wanted."""
    if not isinstance(entry.load, partial) or entry.load.func is not load_member:
        return entry
    return replace(entry, load=partial(_load_again, entry.name), bytes=lambda: one(entry.name).content())


def _load_again(name: str, spec: InputSpec) -> Image:
    del spec
    return one(name).load()
