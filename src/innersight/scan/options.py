"""How the images of a scan are worked through; none of it changes which examples are found."""

from dataclasses import dataclass

from innersight.inputs import threads
from innersight.scalars import at_least_one


@dataclass(frozen=True)
class Batching:
    """How many images are read, computed and stored at a time.

    Parameters
    ----------
    batch
        Images in one forward pass, at least 1.
    shard
        Images after which the scan is stored, and which one worker of a cluster computes at a time; at least 1.
    workers
        Threads that decode images; 0 decodes in the calling thread. None: one for each core, at most 4.

    Raises
    ------
    InnersightError
        For a number below its least.

    Examples
    --------
    >>> Batching(batch=64)
    Batching(batch=64, shard=512, workers=None)

    """

    batch: int = 32
    shard: int = 512
    workers: int | None = None

    def __post_init__(self) -> None:
        at_least_one(batch=self.batch, shard=self.shard)
        threads(self.workers)
