"""Pictures read ahead by threads, in order, and stacked to what the network takes."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.feed.dataset import Content
from innersight.feed.items import Item, items
from innersight.image import Picture, PictureError
from innersight.model import InputSpec, Model

GROUP = 8  # pictures decoded by one call of a worker
AHEAD = 4  # such groups waiting for each worker
T = TypeVar("T")


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


def stream(source: Iterable[Item], spec: InputSpec, workers: int, *, digests: bool) -> Generator[Loaded, None, None]:
    """Yield what was read, in order; see `ahead`."""
    return ahead(source, lambda item: _load(item, spec, digests), workers)


def batches(
    model: Model, pictures: Any, size: int, skipped: list[str], workers: int | None = None
) -> Generator[tuple[list[Item], Tensor], None, None]:
    """Yield up to `size` pictures at a time, with what the network takes (B, C, H, W) of them; see `items`.

    The sentence of each that cannot be read is added to `skipped`. workers : threads that decode, see `threads`.
    """
    source = items(pictures, frozenset(model.labels))
    with closing(stream(source, model.input, threads(workers), digests=False)) as loaded:
        good = readable(loaded, skipped)
        while several := list(islice(good, size)):
            yield [one.item for one in several], network_input(several, model)


def readable(loaded: Iterable[Loaded], skipped: list[str]) -> Iterator[Loaded]:
    """Yield what was read; add the reason why another was not to `skipped`."""
    for one in loaded:
        if one.broken is None:
            yield one
        else:
            skipped.append(one.broken)


def seen(found: Content, spec: InputSpec) -> Image.Image:
    """Return what the network sees of what an item loads, for people, mode RGB."""
    if isinstance(found, Picture):
        return found.seen(spec).convert("RGB")
    pixels = spec.denormalise(found[None].float())[0].clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels[list(spec.shown)].permute(1, 2, 0).cpu().numpy()))


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
