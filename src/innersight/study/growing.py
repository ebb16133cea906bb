"""A report that can be opened while its study is computed."""

import time
from pathlib import Path

from innersight.study.panel import StudyTask
from innersight.study.result import Study

LONG = 250  # passes of a task before which whoever waits gets to see what there is
SHARE = 0.1  # of the time that writing may take
SECONDS = 10.0  # from one report to the next at least


class GrowingReport:
    """Writes the report of a study before the first long task, and now and then from there on.

    out : the file; nothing is written when None.
    """

    def __init__(self, folder: Path, out: str | Path | None) -> None:
        self._folder, self._out = folder, out
        self._next: float | None = None

    def before(self, task: StudyTask) -> None:
        """Write the report if it is due before this task."""
        due = task.passes >= LONG if self._next is None else time.monotonic() >= self._next
        if due:
            self.write()

    def write(self) -> None:
        """Write the report as far as the study is."""
        if self._out is None:
            return
        start = time.monotonic()
        Study.open(self._folder).report(self._out)
        end = time.monotonic()
        self._next = end + max(SECONDS, (end - start) / SHARE)
