"""Images read ahead by threads, in order, and stacked to what the network takes."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, printable
from innersight.image import Image, ImageError
from innersight.input_spec import InputSpec
from innersight.inputs.entry import ImageEntry
from innersight.memory_format import memory_format
from innersight.model import Model

GROUP = 8  # images decoded by one call of a worker
AHEAD = 4  # such groups waiting for each worker
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Loaded:
    """An image that was read, or the reason why not.

    Attributes
    ----------
    entry : ImageEntry
        Where it came from.
    values : numpy.ndarray, Tensor or None
        (H, W, C) uint8 or float32 in 0..1, or the network's input (C, H, W) as a Tensor; None where it was not read.
    broken : str or None
        Why it was not read, in a sentence.
    digest : str
        Of its content; "" where that was not asked for.
    stamp : str
        A text that changes when it may have changed; "" where that was not asked for.
    name : str
        For people.
    size : (int, int) or None
        (height, width) of the whole image.
    contents : tuple of str
        What `content_of` returns; empty where that was not asked for.

    """

    entry: ImageEntry
    values: np.ndarray | Tensor | None
    broken: str | None
    digest: str = ""
    stamp: str = ""
    name: str = ""
    size: tuple[int, int] | None = None
    contents: tuple[str, ...] = ()

    __repr__ = brief


def stream(
    source: Iterable[ImageEntry],
    spec: InputSpec,
    workers: int,
    *,
    digests: bool,
    least: int = 1,
    contents: bool = False,
) -> Generator[Loaded, None, None]:
    """Yield what was read, in order, while threads read ahead.

    Parameters
    ----------
    source
        Entries, see `entries`.
    spec
        The network's input contract.
    workers
        Threads that decode; 0 for none.
    digests
        Take also the stamp and the digest of each.
    least
        Pixels that each side must have, as far as the network's input has as many.
    contents
        Take also what `content_of` returns of each.

    Returns
    -------
    Generator of Loaded
        One for each entry, whether it could be read or not.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> [found] = inputs.stream(inputs.entries(["gone.png"]), ins.InputSpec(8, 8), 0, digests=False)
    >>> found.broken
    'gone.png: no such file'

    """
    return ahead(source, lambda entry: load(entry, spec, digests=digests, least=least, contents=contents), workers)


def load(
    entry: ImageEntry, spec: InputSpec, *, digests: bool = False, least: int = 1, contents: bool = False
) -> Loaded:
    """Read one image, or say why it cannot be read.

    digests : also its stamp and digest. least : pixels that each side must have. contents : also `content_of`.
    """
    stamp = entry.stamp() if digests else ""
    try:
        loaded = read_entry(entry, spec, least, contents=contents)
    except ImageError as error:
        loaded = Loaded(entry, None, str(error))
    return replace(loaded, digest=entry.digest() if digests else "", stamp=stamp)


def read_entry(entry: ImageEntry, spec: InputSpec, least: int = 1, *, contents: bool = False) -> Loaded:
    """Read one image; least : pixels that each side must have. Raises ImageError where it cannot be read."""
    found = entry.load(spec).checked(spec)
    least = min(least, spec.height, spec.width)
    if min(found.width, found.height) < least:
        raise ImageError(
            f"{printable(entry.name)}: {found.width}x{found.height} pixels are too small; each side needs at least "
            f"{least}"
        )
    own = content_of(entry.bytes(), found) if contents else ()
    size = found.height, found.width
    return Loaded(entry, found.values(spec), None, name=found.name, size=size, contents=own)


def content_of(data: bytes, image: Image) -> tuple[str, str]:
    """Return digests of the bytes of an image's file and of its decoded pixels, whatever the size the network takes.

    Parameters
    ----------
    data
        The bytes of the file.
    image
        What they decode to.

    Returns
    -------
    (str, str)
        20 hexadecimal digits each.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.image import as_image
    >>> from innersight.toons import draw
    >>> image = as_image(draw("ambra", seed=0).pixels)
    >>> [len(one) for one in inputs.content_of(b"", image)]
    [20, 20]

    """
    values = np.asarray(image.pil.convert("RGB")) if image.bands is None else np.asarray(image.bands)
    pixels = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    pixels.update(np.ascontiguousarray(values).data)
    return hashlib.sha256(data).hexdigest()[:20], pixels.hexdigest()[:20]


def threads(workers: int | None) -> int:
    """Return how many threads decode.

    Parameters
    ----------
    workers
        As asked for, 0 or more; None for one for each core, up to 4.

    Returns
    -------
    int
        0 where images are decoded when they are asked for.

    Raises
    ------
    InnersightError
        For a negative number.

    Examples
    --------
    >>> from innersight import inputs
    >>> inputs.threads(2), 1 <= inputs.threads(None) <= 4
    (2, True)

    """
    if workers is not None and workers < 0:
        raise InnersightError(f"workers={workers}: give the number of threads that decode, or 0 for none")
    return min(4, os.cpu_count() or 1) if workers is None else workers


def ahead(
    source: Iterable[ImageEntry], read: Callable[[ImageEntry], T], workers: int, group_size: int = GROUP
) -> Generator[T, None, None]:
    """Yield what a function makes of each entry, in order, while threads read ahead of what is asked for.

    Threads and not processes: decoding and scaling let go of Python's lock, and nothing has to be copied.

    Parameters
    ----------
    source
        Entries, see `entries`.
    read
        From an ImageEntry to what is yielded; called by the threads.
    workers
        How many threads; with 0 each entry is read when it is asked for.
    group_size
        Entries read by one call of a thread, of which four wait for each; 1 where whole images are held.

    Returns
    -------
    Generator
        Close it to stop the threads before its end.

    Examples
    --------
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> list(inputs.ahead(inputs.entries(Drawn(per_class=1)), lambda entry: entry.label, workers=2))[:3]
    ['ambra', 'bosk', 'corvo']

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
    """Yield several elements of an iterator at a time.

    Parameters
    ----------
    each
        The iterator.
    size
        Elements at a time; the last list may have fewer.

    Returns
    -------
    Iterator of list
        In order; no list is empty.

    Examples
    --------
    >>> from innersight import inputs
    >>> list(inputs.batched(iter("abcde"), 2))
    [['a', 'b'], ['c', 'd'], ['e']]

    """
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
    """Return images that were read as one batch for the network.

    Parameters
    ----------
    loaded
        Images that were read, one or more.
    model
        The network; the batch has its device and type.
    read_for
        The input contract that they were read for; the model's own when None.
    spec
        The input contract by whose mean and std they are normalised; the model's own when None.

    Returns
    -------
    torch.Tensor
        (B, C, H, W), in the memory layout in which convolutions are fastest on CPUs.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import inputs
    >>> from innersight.toons import Drawn
    >>> model = ins.load("small:4")
    >>> loaded = next(inputs.ImageReader(Drawn(per_class=1), model.input).batches(4))
    >>> inputs.network_input(loaded, model).shape
    torch.Size([4, 3, 80, 80])

    """
    own, fed = read_for or model.input, spec or model.input
    arrays = [one.values for one in loaded]
    if all(isinstance(array, np.ndarray) and array.dtype == np.uint8 for array in arrays):
        x = fed.normalise_bytes(torch.from_numpy(np.stack(arrays)).to(model.device))  # type: ignore[arg-type]
    else:
        x = torch.stack([_single(array, own, fed) for array in arrays]).to(model.device)
    return x.to(model.dtype).to(memory_format=memory_format(model))


def _single(values: np.ndarray | Tensor | None, own: InputSpec, fed: InputSpec) -> Tensor:
    assert values is not None
    if isinstance(values, Tensor):
        same = (own.mean, own.std) == (fed.mean, fed.std)
        return values.float() if same else fed.normalise(own.denormalise(values[None].float()))[0]
    scaled = values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values
    return fed.normalise(torch.from_numpy(scaled).permute(2, 0, 1)[None])[0]
