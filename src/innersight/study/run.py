"""Carry out tasks one by one; each item is kept as soon as it is finished."""

import time
from collections.abc import Callable, Iterable, Iterator

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.study.panel import StudyTask

ReportProgress = Callable[[int, int, str], None]
Failed = Callable[[StudyTask, InnersightError], None]


class TaskProgress:
    """How much of a list of tasks is done, in passes of one image through the network.

    report : called with the passes done, those of all tasks that are to be computed, and the task at work in words.
    """

    def __init__(self, report: ReportProgress | None = None) -> None:
        self._report = report
        self._done = self._total = self._own = 0.0
        self._words = ""

    def plan(self, tasks: Iterable[StudyTask]) -> None:
        """Set what there is to do."""
        self._total = sum(task.passes for task in tasks)

    def begin(self, task: StudyTask) -> None:
        """Turn to a task."""
        self._own, self._words = task.passes, task.words or task.key.words()
        self.within(0.0)

    def within(self, share: float) -> None:
        """Report a share, 0 to 1, of the task at work."""
        if self._report:
            self._report(round(self._done + share * self._own), max(1, round(self._total)), self._words)

    def end(self) -> None:
        """Count the task at work as done."""
        self._done, self._own = self._done + self._own, 0.0

    def finish(self) -> None:
        """Report that nothing is left."""
        self._done, self._own, self._words = self._total, 0.0, "done"
        self.within(0.0)


def carry_out(
    store: Store,
    tasks: Iterable[StudyTask],
    work: TaskProgress | None = None,
    failed: Failed | None = None,
    before: Callable[[StudyTask], None] | None = None,
) -> Iterator[tuple[Key, bool]]:
    """Compute the items that are not done with the same settings; yield each key, and whether it was computed.

    failed : called with a task that cannot be carried out, which is left out where it returns; without it the error
    ends the work. before : called with each task that is about to be computed. The caller holds the lock of the store.
    """
    work = work or TaskProgress()
    tasks = list(tasks)
    missing = {task.key for task in tasks if not store.done(str(task.key), task.settings)}
    work.plan(task for task in tasks if task.key in missing)
    lost: set[Key] = set()
    for task in tasks:
        if task.needs in lost:
            continue
        if task.key in missing:
            if before is not None:
                before(task)
            work.begin(task)
            start = time.perf_counter()
            try:
                document, tensors = task.compute()
            except InnersightError as error:
                if failed is not None:
                    failed(task, error)
                elif not task.optional:
                    raise
                lost.add(task.key)
                continue
            finally:
                work.end()
            store.put(str(task.key), task.settings, document, tensors, time.perf_counter() - start)
        yield task.key, task.key in missing
    work.finish()
