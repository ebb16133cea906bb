"""Forward passes over pictures with parts hidden, shared by all methods that need them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from innersight.heatmaps.request import BATCH, Answer, Request

Asking = Generator[Tensor, Tensor, Answer]


@dataclass
class _Job:
    """One method on one picture. waiting : masks not yet run. found : values of those that were."""

    place: int
    picture: int
    asking: Asking
    waiting: Tensor
    found: list[Tensor]


def answers(request: Request, asked: Sequence[tuple[int, Asking]]) -> list[Answer]:
    """Run the generators of methods side by side, their masks filling the same batches; return what each found.

    asked : number of the picture, and the generator. One begins when the masks of those before it fill no batch, so
    that few masks are held. What is hidden is replaced by 0 of the network input, the mean colour of the training data
    for most networks.
    """
    found: list[Answer | None] = [None] * len(asked)
    later = [_Job(place, picture, asking, torch.empty(0), []) for place, (picture, asking) in enumerate(asked)]
    jobs: list[_Job] = []

    def turn(job: _Job, values: Tensor | None) -> None:
        try:
            job.waiting = job.asking.send(values)  # type: ignore[arg-type]
            job.found = []
            jobs.append(job)
        except StopIteration as stop:
            found[job.place] = stop.value

    while jobs or later:
        while later and sum(len(job.waiting) for job in jobs) < BATCH:
            turn(later.pop(0), None)
        batch, rows, room = [], [], BATCH
        for job in jobs:
            part = job.waiting[:room]
            batch.append(part)
            rows.append(torch.full((len(part),), job.picture))
            room -= len(part)
            if not room:
                break
        index = torch.cat(rows).to(request.x.device)
        masks = torch.cat(batch).to(request.x)
        seen = (request.x[index] * masks[:, None]).contiguous(memory_format=torch.channels_last)
        values = request.run(seen, index)
        finished = []
        for job, part, own in zip(jobs, batch, torch.split(values, [len(part) for part in batch]), strict=False):
            job.waiting = job.waiting[len(part) :]
            job.found.append(own)
            if not len(job.waiting):
                finished.append(job)
        for job in finished:
            jobs.remove(job)
            turn(job, torch.cat(job.found))
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]
