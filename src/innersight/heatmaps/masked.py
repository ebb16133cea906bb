"""Forward passes over images with parts hidden, batched over all methods and metrics that need them."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

import torch
from torch import Tensor

from innersight.model import Model

BATCH = 8
"""Images of 224 x 224 at once on a CPU: more are no faster, and hold more memory."""
LARGEST = 64

T = TypeVar("T")
MaskedPasses = Generator[Tensor, Tensor, T]
"""Yields masks (n, H, W), how much of each pixel stays, and is sent the values of the masked images (n, ...)."""


def batch_of(model: Model) -> int:
    """Return how many images with hidden parts go through a network at once: more where they are small."""
    pixels = model.input.height * model.input.width
    fitting = BATCH * 224 * 224 // pixels
    return min(LARGEST, max(BATCH, fitting)) if model.device.type == "cpu" else LARGEST


@dataclass(eq=False)
class _Job(Generic[T]):
    """One generator. waiting : masks not yet run. found : values of those that were."""

    number: int
    passes: MaskedPasses[T]
    waiting: Tensor
    found: list[Tensor]


def in_turn(passes: Sequence[MaskedPasses[T]], counted: Callable[[int], object]) -> MaskedPasses[list[T]]:
    """Run generators over the same image one after another, and every mask once; return what each found.

    counted : takes how many masks were answered, whether for the first time or not.
    """
    known: dict[bytes, Tensor] = {}
    found: list[T] = []
    for one in passes:
        values: Tensor | None = None
        try:
            while True:
                masks = one.send(values)  # type: ignore[arg-type]
                keys = [blake2b(mask.numpy(), digest_size=16).digest() for mask in masks.cpu().contiguous()]
                new = {key: i for i, key in enumerate(keys) if key not in known}
                if new:
                    fresh = yield masks[list(new.values())]
                    known |= zip(new, fresh, strict=True)
                counted(len(masks))
                values = torch.stack([known[key] for key in keys])
        except StopIteration as stop:
            found.append(stop.value)
    return found


def run_masked(
    passes: Sequence[MaskedPasses[T]],
    show: Callable[[int, Tensor], Tensor],
    run: Callable[[Tensor, Tensor], Tensor],
    size: int = BATCH,
) -> list[T]:
    """Run the generators side by side, their masks filling the same batches; return what each found.

    show : from the number of a generator and some of its masks to network inputs (n, C, H, W). run : from a batch of
    inputs, and (B,) the generator of each, to what the generators are sent. size : of the batches. A
    generator begins when the masks of those before it fill no batch, so that few masks are held.
    """
    found: dict[int, T] = {}
    later = [_Job(number, one, torch.empty(0), []) for number, one in enumerate(passes)][::-1]
    jobs: list[_Job[T]] = []

    def advance(job: _Job[T], values: Tensor | None) -> None:
        try:
            job.waiting = job.passes.send(values)  # type: ignore[arg-type]
            job.found = []
            jobs.append(job)
        except StopIteration as stop:
            found[job.number] = stop.value

    while jobs or later:
        while later and sum(len(job.waiting) for job in jobs) < size:
            advance(later.pop(), None)
        batch, owners, room = [], [], size
        for job in jobs:
            part = job.waiting[:room]
            batch.append(show(job.number, part))
            owners.append(torch.full((len(part),), job.number))
            room -= len(part)
            if not room:
                break
        if not batch:
            continue
        values = run(torch.cat(batch), torch.cat(owners))
        finished = []
        for job, own in zip(jobs, torch.split(values, [len(part) for part in batch]), strict=False):
            job.waiting = job.waiting[len(own) :]
            job.found.append(own)
            if not len(job.waiting):
                finished.append(job)
        for job in finished:
            jobs.remove(job)
            advance(job, torch.cat(job.found))
    return [found[number] for number in range(len(passes))]
