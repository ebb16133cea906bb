"""Carry out tasks one by one; each item is kept as soon as it is finished."""

import time
from collections.abc import Callable, Iterable, Iterator

from innersight.errors import InnersightError
from innersight.storage.store import Store
from innersight.study.key import Key
from innersight.study.panel import StudyTask

ReportProgress = Callable[[int, int, str], None]
Failed = Callable[[StudyTask, InnersightError], None]


def carry_out(
    store: Store, tasks: Iterable[StudyTask], progress: ReportProgress | None = None, failed: Failed | None = None
) -> Iterator[tuple[Key, bool]]:
    """Compute the items that are not done with the same settings; yield each key, and whether it was computed.

    progress : called with (items done, items in all, the next one in words). failed : called with a task that cannot be
    carried out, which is left out where it returns; without it the error ends the work. The caller holds the lock of
    the store.
    """
    tasks = list(tasks)
    for number, task in enumerate(tasks):
        if progress:
            progress(number, len(tasks), task.key.words())
        key = str(task.key)
        missing = not store.done(key, task.settings)
        if missing:
            start = time.perf_counter()
            try:
                document, tensors = task.compute()
            except InnersightError as error:
                if failed is None:
                    raise
                failed(task, error)
                continue
            store.put(key, task.settings, document, tensors, time.perf_counter() - start)
        yield task.key, missing
    if progress:
        progress(len(tasks), len(tasks), "done")
