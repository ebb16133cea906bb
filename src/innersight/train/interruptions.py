"""Ctrl-C and a full disk while training: what is reported, and what stays."""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, WriteError
from innersight.storage.writing import is_full, quiet_writers


@contextmanager
def interruptible(report: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a wish that the loop looks at; the second one interrupts as usual."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if asked.is_set() or not _inside_loop(frame):
            raise KeyboardInterrupt
        asked.set()
        report("Ctrl-C: stopping after this step (again to stop at once)")

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _inside_loop(frame: Any) -> bool:
    """Return whether the interrupted code runs below `loop.fit`, which looks at the wish."""
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_globals.get("__name__") == "innersight.train.loop":
            return True
        frame = frame.f_back
    return False


@contextmanager
def clear_about_full_disk(out: Path) -> Iterator[None]:
    """Turn a full disk into one sentence that names what is kept."""
    try:
        with quiet_writers():
            yield
    except (WriteError, OSError, RuntimeError) as error:
        if not _is_full_disk(error):
            raise
        # Of a copy, filename2 is the target.
        named = (getattr(error, key, None) for key in ("path", "filename2", "filename"))
        name = Path(str(next(filter(None, named), out)))
        place = next((p for p in (name, *name.parents) if p.is_dir()), Path())
        kept = out / "checkpoints" / "last.ckpt"
        state = (
            f"the last good checkpoint is kept in {kept}"
            if kept.is_file()
            else "nothing was lost, no epoch was complete"
        )
        raise InnersightError(
            f"the disk is full, {shutil.disk_usage(place).free / 1e6:.0f} MB free in {place} (writing {name.name}); "
            f"{state}: free some space and run the same command again to resume"
        ) from error


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if is_full(error):
            return True
        error = error.__cause__ or error.__context__
    return False
