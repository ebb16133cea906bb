"""Jobs of the card in processes of their own; not in `__main__`, which a new process does not import."""

import importlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import ModuleType
from typing import Any

import torch

from benchmarks.audit_card.outcome import Outcome

Job = tuple[Any, ...]


def part(name: str) -> ModuleType:
    """Return the module of a part: `jobs(quick)`, `judge(*job)` and `figures(outcomes)`."""
    return importlib.import_module(f"benchmarks.audit_card.{name}")


def judged(jobs: Sequence[tuple[str, Job]], workers: int) -> Iterator[tuple[Outcome, float]]:
    """Yield the outcome of every (part, job), in order, and the processor time it took; 0 workers: in this process."""
    if not workers:
        for name, job in jobs:
            yield _timed(name, job)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _single_thread) as executor:
        yield from executor.map(_timed, *zip(*jobs, strict=True))


def _single_thread() -> None:
    torch.set_num_threads(1)


def _timed(name: str, job: Job) -> tuple[Outcome, float]:
    # Of the process: what else the machine does is not counted.
    start = time.process_time()
    outcome: Outcome = part(name).judge(*job)
    return outcome, time.process_time() - start
