"""Patterns drawn by workers on other machines, a batch at a time; the images are the same bits."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from innersight import tap
from innersight.model import Model
from innersight.patterns.memory import ROWS, ROWS_ON_GPU, batch_of
from innersight.patterns.reading import references_of
from innersight.patterns.slots import Drawn, Job, Recipe, Slots
from innersight.remote import spread


@dataclass(frozen=True, eq=False)
class Away:
    """What a worker on another machine does with jobs."""

    recipe: Recipe

    def __call__(self, model: Model, jobs: Sequence[Job]) -> list[Drawn]:
        """Draw jobs; return them in order."""
        with tap.untouched(model), tap.fold_batchnorm():
            references = references_of(model, [job.driven for job in jobs], self.recipe.shape[1:])
            rows, share = batch_of(model, jobs, self.recipe, references)
            found = {one.job: one for one in Slots(model, jobs, self.recipe, references, rows, share).run()}
        return [found[job] for job in jobs]


def there(model: Model, queue: Sequence[Job], recipe: Recipe, cluster: str) -> Generator[Drawn, None, None]:
    """Draw jobs on a Ray cluster; yield them in their order. Raises what `innersight.remote.spread` does."""
    pieces = list(_batches(queue, ROWS_ON_GPU if model.device.type == "cuda" else ROWS))
    with closing(spread(cluster, model, Away(recipe), pieces, _told)) as answers:
        for piece, drawn in zip(pieces, answers, strict=True):
            # What comes back was pickled: it is a copy of the job.
            yield from (replace(one, job=job) for job, one in zip(piece, drawn, strict=True))


def _batches(queue: Sequence[Job], rows: int) -> Generator[list[Job], None, None]:
    """Cut the queue into runs of jobs with up to `rows` images, one job at least."""
    piece: list[Job] = []
    for job in queue:
        if piece and sum(one.rows for one in piece) + job.rows > rows:
            yield piece
            piece = []
        piece.append(job)
    if piece:
        yield piece


def _told(jobs: Sequence[Job]) -> str:
    return f"the patterns from {jobs[0].objective} to {jobs[-1].objective}"
