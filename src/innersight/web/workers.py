"""Who computes for the server: a process of its own, so that the server stays light and a job can be killed."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from innersight.errors import InnersightError
from innersight.study.panels.edit import EditRequest
from innersight.study.request import StudyRequest

if TYPE_CHECKING:
    from innersight.model import Model
    from innersight.study.editing import StudyEdits

SendLine = Callable[[dict[str, Any]], None]


class StoppedError(Exception):
    """Raised in a job that somebody cancelled."""


class BusyError(InnersightError):
    """Raised where what is asked for has to wait: a job is at work, or too many wait already."""


PATIENCE = 0.2  # seconds that an edit waits for the network
_BUSY = "the network is computing something else; the edit follows when that is finished"


@runtime_checkable
class Worker(Protocol):
    """Computes one request at a time. `stopped` is the job's own, so that ending one job never ends the next."""

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute; `progress` takes lines as in `innersight.study.worker`. Raises InnersightError, or StoppedError."""

    def stop(self, stopped: threading.Event) -> None:
        """End the job of this event, from another thread; what it has finished is kept."""

    def edit(self, request: EditRequest) -> dict[str, Any]:
        """Return the prediction of an edited image. Raises BusyError while a job runs, and InnersightError."""

    def close(self) -> None:
        """End whatever runs."""


class Process:
    """A process that loads torch and the network at its first job and keeps them.

    source : see `ins.load`. images : where the study's images are found; see `innersight.storage.permit`.
    """

    def __init__(self, folder: Path, source: str | None = None, images: Sequence[str] = ()) -> None:
        # Without -P the current folder, which may be a study's, would be searched for torch and all else first.
        self.command = [sys.executable, "-P", "-m", "innersight.study.worker", str(folder), source or "", *images]
        self._process: subprocess.Popen[str] | None = None
        self._current: threading.Event | None = None
        self._lock = threading.Lock()
        self._talking = threading.Lock()

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute in the process, started where it does not run yet."""
        with self._talking:
            with self._lock:
                if stopped.is_set():
                    raise StoppedError
                process = self._started()
                self._current = stopped
            try:
                self._talk(process, request, progress)
            finally:
                with self._lock:
                    self._current = None
        if process.poll() is not None:
            if stopped.is_set():
                raise StoppedError
            raise InnersightError(_ended(process))

    def edit(self, request: EditRequest) -> dict[str, Any]:
        """Ask the process, started where it does not run yet."""
        if not self._talking.acquire(timeout=PATIENCE):
            raise BusyError(_BUSY)
        found: dict[str, Any] = {}
        try:
            with self._lock:
                process = self._started()
            self._talk(process, request, lambda line: found.update(line.get("edited", {})))
        finally:
            self._talking.release()
        if process.poll() is not None:
            raise InnersightError(_ended(process))
        return found

    def stop(self, stopped: threading.Event) -> None:
        """Kill the process where it works for this job."""
        stopped.set()
        with self._lock:
            if self._current is stopped and self._process is not None:
                self._process.kill()
                # So that the next job does not take it for one that lives.
                self._process.wait()

    def close(self) -> None:
        """Kill the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        return self._process

    def _talk(self, process: "subprocess.Popen[str]", request: StudyRequest | EditRequest, progress: SendLine) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        # Whether the process was killed shows in its status.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request.model_dump_json() + "\n")
            process.stdin.flush()
        for text in process.stdout:
            # One that was killed may have said half a line.
            if not text.endswith("\n"):
                break
            line = json.loads(text)
            if "error" in line:
                raise InnersightError(line["error"])
            if "done" in line:
                return
            progress(line)
        process.wait()


def _ended(process: "subprocess.Popen[str]") -> str:
    return (
        f"the computing process ended with status {process.returncode}; what it had finished is kept. See its "
        "output in the terminal of `innersight view`"
    )


class Inside:
    """Computes in this process with a model that only Python has, such as an `nn.Module`."""

    def __init__(self, folder: Path, model: "Model", images: Sequence[str] = ()) -> None:
        self._folder = folder
        self._model = model
        self._images = images
        self._working = threading.Lock()
        self._edits: StudyEdits | None = None

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute here; it can be stopped where progress is reported."""
        from innersight.study.compute import compute

        def report(share: float, what: str) -> None:
            if stopped.is_set():
                raise StoppedError
            progress({"share": share, "what": what})

        with self._working:
            for document in compute(self._folder, request, model=self._model, images=self._images, progress=report):
                progress({"document": document})

    def edit(self, request: EditRequest) -> dict[str, Any]:
        """Compute here, where no job does."""
        from innersight.study.editing import StudyEdits

        if not self._working.acquire(timeout=PATIENCE):
            raise BusyError(_BUSY)
        try:
            if self._edits is None:
                self._edits = StudyEdits(self._folder, self._model, self._images)
            return self._edits.edited(request).model_dump()
        finally:
            self._working.release()

    def stop(self, stopped: threading.Event) -> None:
        """Ask the work to end."""
        stopped.set()

    def close(self) -> None:
        """Nothing runs by itself."""
