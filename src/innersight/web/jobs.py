"""Jobs: what is requested is computed one after the other, watched, and cancelled."""

import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from innersight.errors import InnersightError
from innersight.study.request import StudyRequest
from innersight.web.workers import BusyError as BusyError
from innersight.web.workers import StoppedError, Worker

State = Literal["waiting", "running", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")
KEPT = 200
WAITING = 50


@dataclass(frozen=True)
class Job:
    """One request and how far it is.

    share : 0 to 1. what : the item at work, in words. documents : keys of those written anew so far. error : a
    sentence, or None. seconds : at work so far.
    """

    id: str
    request: StudyRequest
    state: State = "waiting"
    share: float = 0.0
    what: str = ""
    documents: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0


@dataclass(eq=False)
class Jobs:
    """The jobs of a server, the last 200 of them, and the thread that hands them to the worker one by one.

    Whatever begins with an underscore is read and written under the lock `_changed` only.
    """

    worker: Worker
    ended: Callable[[Job], None] = lambda job: None
    _jobs: "OrderedDict[str, Job]" = field(default_factory=OrderedDict)
    _queue: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stops: dict[str, threading.Event] = field(default_factory=dict)
    _at_work: str | None = None
    _began: float = 0.0
    _thread: threading.Thread | None = None

    def add(self, request: StudyRequest) -> Job:
        """Add a job, or return the one that is computing or waiting to compute the same.

        Raises BusyError when 50 wait.
        """
        with self._changed:
            for job in self._jobs.values():
                if job.request == request and job.state not in OVER:
                    return job
            if sum(job.state == "waiting" for job in self._jobs.values()) >= WAITING:
                raise BusyError(f"{WAITING} jobs are waiting already: wait until some finish, or cancel some")
            job = Job(secrets.token_hex(8), request)
            self._jobs[job.id], self._stops[job.id] = job, threading.Event()
            # One that was cancelled is over before the worker has let go of it.
            over = [key for key, one in self._jobs.items() if one.state in OVER and key != self._at_work]
            for key in over[: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[key], self._stops[key]
            if self._thread is None:
                self._begin()
            self._queue.put(job.id)
        return job

    def get(self, key: str) -> Job | None:
        """Return a job."""
        with self._changed:
            return self._jobs.get(key)

    def all(self) -> list[Job]:
        """Return the jobs, the newest last."""
        with self._changed:
            return list(self._jobs.values())

    def cancel(self, key: str) -> Job | None:
        """Cancel a job that waits or runs; what it has finished is kept. Return it as it is then."""
        with self._changed:
            job = self._jobs.get(key)
            if job is None or job.state in OVER:
                return job
            cancelled = self._jobs[key] = replace(job, state="cancelled")
            stop = self._stops[key]
            self._changed.notify_all()
        self.worker.stop(stop)
        if job.state == "waiting":
            self.ended(cancelled)
        return cancelled

    def close(self) -> None:
        """Cancel everything and end the thread."""
        for job in self.all():
            self.cancel(job.id)
        self.worker.close()
        with self._changed:
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def watch(self, key: str, wait: float) -> Iterator[Job | None]:
        """Yield a job whenever it changes, up to its end; None when nothing has changed for `wait` seconds."""
        last: Job | None = None
        while True:
            with self._changed:
                if self._jobs.get(key) == last:
                    self._changed.wait(wait)
                job = self._jobs.get(key)
            if job is None:
                return
            yield None if job == last else job
            last = job
            if job.state in OVER:
                return

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            with self._changed:
                job = self._jobs.get(key)
                if job is None or job.state != "waiting":
                    continue
                self._jobs[key], self._at_work, stop = replace(job, state="running"), key, self._stops[key]
                self._began = time.monotonic()
                self._changed.notify_all()
            over: dict[str, Any] = {
                "state": "failed",
                "error": "the computation failed; the terminal of `innersight view` shows the error",
            }
            foreseen = False
            try:
                over = self._outcome(job, stop)
                foreseen = True
            finally:
                try:
                    # Clean up before the end is announced.
                    now = self.get(key) or job
                    self.ended(now if now.state == "cancelled" else replace(now, **over))
                finally:
                    self._change(key, **over)
                    with self._changed:
                        self._at_work = None
                        if not foreseen:
                            # Python prints the error and ends this thread; waiting jobs continue in a new one.
                            self._begin()

    def _outcome(self, job: Job, stop: threading.Event) -> dict[str, Any]:
        """Compute, and return how it ended."""
        try:
            self.worker.run(job.request, partial(self._progress, job.id), stop)
        except StoppedError:
            return {"state": "cancelled"}
        except InnersightError as error:
            return {"state": "failed", "error": str(error)}
        return {"state": "done", "share": 1.0}

    def _progress(self, key: str, line: dict[str, object]) -> None:
        if "document" in line:
            self._change(key, document=str(line["document"]))
        else:
            self._change(key, share=line["share"], what=line["what"])

    def _change(self, key: str, document: str | None = None, **changes: Any) -> None:
        with self._changed:
            job = self._jobs[key]
            if document is not None:
                changes["documents"] = tuple(dict.fromkeys([*job.documents, document]))
            # A job that was cancelled stays so, whatever its last lines say.
            if job.state != "cancelled":
                self._jobs[key] = replace(job, **changes, seconds=time.monotonic() - self._began)
                self._changed.notify_all()
