"""What a caller gave as images, sorted out: a list of anything, or one data set."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.inputs.datasets import Named, is_row, is_row_batch, numbered, rows_of_batch, set_of
from innersight.inputs.named import is_named, opened
from innersight.inputs.tensors import is_batch

LOADER = "the DataLoader's data set is read once, in its own order"
SINGLE = (str, Path, Image, PILImage.Image, bytes)


@dataclass(frozen=True, eq=False)
class Given:
    """Images as a caller gave them.

    Attributes
    ----------
    things : iterable or None
        Files, folders, images and rows; None for a data set.
    dataset : object
        Anything with numbered entries, or a stream of them; None without a data set.
    name : str
        By which the data set is found again, "" for none.
    notes : tuple of str
        What was done with it, for people.

    """

    things: Iterable[Any] | None
    dataset: Any = None
    name: str = ""
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def of_files(self) -> bool:
        """Whether all are files, folders and tar files, which can be read again by their names."""
        return isinstance(self.things, list) and all(isinstance(thing, str | Path) for thing in self.things)

    @property
    def count(self) -> int | None:
        """How many entries a numbered data set has; None for anything else."""
        return len(self.dataset) if self.dataset is not None and numbered(self.dataset) else None


def given(images: Any) -> Given:
    """Return what a caller gave as images, sorted out.

    Parameters
    ----------
    images
        Whatever holds images, see `innersight.inputs.entries`; None for no images.

    Returns
    -------
    Given
        A list of things, or one data set.

    Raises
    ------
    InnersightError
        For what holds no images, and for several data sets.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> inputs.given(["a.png", "b.png"]).things, inputs.given(Drawn(per_class=2)).count
    (['a.png', 'b.png'], 20)

    """
    if isinstance(images, Given):
        return images
    if images is None:
        return Given([])
    if isinstance(images, Named):
        return Given(None, images.rows, images.name)
    if isinstance(images, DataLoader):
        return replace(given(set_of(images)), notes=(LOADER,))
    if is_row_batch(images):
        return Given(rows_of_batch(images))
    if is_row(images):
        return Given([images])
    if isinstance(images, Mapping):
        names = ", ".join(map(repr, images)) or "nothing"
        raise InnersightError(f"the data set has the parts {names}: give one of them")
    if isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "OUS":
        images = images.tolist()
    if isinstance(images, list | tuple | set):
        texts = [one for one in images if isinstance(one, str) and is_named(one)]
        if texts and len(images) > 1:
            raise InnersightError(f"{texts[0]} is a data set: give it alone")
        return given(texts[0]) if texts else Given(list(images))
    if isinstance(images, str) and is_named(images):
        return given(opened(images))
    if isinstance(images, SINGLE) or (isinstance(images, Tensor | np.ndarray) and not is_batch(images)):
        return Given([images])
    if is_batch(images):
        return Given(list(images))
    if isinstance(images, Iterator):
        return Given(images)
    if hasattr(images, "__array__"):  # of another library, such as JAX or TensorFlow
        return given(np.asarray(images))
    if numbered(images) or hasattr(images, "__iter__"):
        return Given(None, images)
    raise InnersightError(
        f"images={images!r:.60} of type {type(images).__name__}: give files, folders, tar files, PIL images, arrays, "
        "tensors, or a data set"
    )


def repeatable(images: Any) -> Given:
    """Return what a caller gave so that it can be gone through several times: an iterator becomes a list.

    Parameters
    ----------
    images
        Whatever holds images, see `innersight.inputs.entries`.

    Returns
    -------
    Given
        Without an iterator.

    Raises
    ------
    InnersightError
        As `given` does.

    Examples
    --------
    >>> from innersight import inputs
    >>> inputs.repeatable(iter(["a.png", "b.png"])).things
    ['a.png', 'b.png']

    """
    own = given(images)
    return replace(own, things=list(own.things)) if isinstance(own.things, Iterator) else own


def is_empty(images: Any) -> bool:
    """Return whether no images were given.

    Parameters
    ----------
    images
        Whatever holds images, see `innersight.inputs.entries`.

    Returns
    -------
    bool
        True for None and for an empty list or tuple; what else is empty is seen when it is read.

    Examples
    --------
    >>> from innersight import inputs
    >>> inputs.is_empty([]), inputs.is_empty("images/")
    (True, False)

    """
    return images is None or (isinstance(images, list | tuple) and not images)
