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
from innersight.study.request import StudyRequest

if TYPE_CHECKING:
    from innersight.model import Model

SendLine = Callable[[dict[str, Any]], None]


class StoppedError(Exception):
    """Raised in a job that somebody cancelled."""


@runtime_checkable
class Worker(Protocol):
    """Computes one request at a time. `stopped` is the job's own, so that ending one job never ends the next."""

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute; `progress` takes lines as in `innersight.study.worker`. Raises InnersightError, or StoppedError."""

    def stop(self, stopped: threading.Event) -> None:
        """End the job of this event, from another thread; what it has finished is kept."""

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

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute in the process, started where it does not run yet."""
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
            raise InnersightError(
                f"the computing process ended with status {process.returncode}; what it had finished is kept. See its "
                "output in the terminal of `innersight view`"
            )

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

    def _talk(self, process: "subprocess.Popen[str]", request: StudyRequest, progress: SendLine) -> None:
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


class Inside:
    """Computes in this process with a model that only Python has, such as an `nn.Module`."""

    def __init__(self, folder: Path, model: "Model", images: Sequence[str] = ()) -> None:
        self._folder = folder
        self._model = model
        self._images = images

    def run(self, request: StudyRequest, progress: SendLine, stopped: threading.Event) -> None:
        """Compute here; it can be stopped where progress is reported."""
        from innersight.study.compute import compute

        def report(share: float, what: str) -> None:
            if stopped.is_set():
                raise StoppedError
            progress({"share": share, "what": what})

        for document in compute(self._folder, request, model=self._model, images=self._images, progress=report):
            progress({"document": document})

    def stop(self, stopped: threading.Event) -> None:
        """Ask the work to end."""
        stopped.set()

    def close(self) -> None:
        """Nothing runs by itself."""
