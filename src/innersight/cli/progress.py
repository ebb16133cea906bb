"""How far a command is: a bar on a terminal, lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from innersight.patterns import PatternProgress

ShowProgress = Callable[[int, int, str], None]
PREVIEW = 5.0  # seconds between two previews
LINE = 10.0  # seconds between two lines of a log, at least
LINES = 20  # of the time so far, which is what lies between two lines later on
EARLY = 0.02  # of the work, before which no time left is told


@contextmanager
def progress(title: str) -> Iterator[ShowProgress]:
    """Show a bar with the time left on the terminal's error stream; where that is none, a line now and then.

    Yields what takes the work done, all of it (0 where that is not known), and what is at work in words.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    start = line = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, left="")

        def show(done: int, total: int, name: str) -> None:
            nonlocal line
            now = time.monotonic()
            left = time_left(now - start, done / total) if total else ""
            if console.is_terminal:
                bar.update(task, completed=done, total=total or None, description=f"{title}: {name}", left=left)
            elif now - line >= max(LINE, (now - start) / LINES):
                line = now
                share = f"{done / total:.0%}" if total else f"{done:,}"
                typer.echo(", ".join(filter(None, (f"{title}: {share}", name, left))), err=True)

        yield show


def time_left(seconds: float, share: float) -> str:
    """Return how long work goes on, of which a share from 0 to 1 took some seconds.

    >>> time_left(10, 0.25), time_left(60, 0.1), time_left(3600, 0.2), time_left(1, 0.01)
    ('30 s left', '9 min left', '4.0 h left', '')
    """
    if share < EARLY:
        return ""
    left = seconds * (1 - share) / share
    if left < 99.5:
        return f"{left:.0f} s left"
    return f"{left / 60:.0f} min left" if left < 99.5 * 60 else f"{left / 3600:.1f} h left"


@contextmanager
def drawing(title: str, preview: Path | None) -> "Iterator[Callable[[PatternProgress], None]]":
    """Show a bar with the rate while patterns are drawn; write what there is to `preview` now and then."""
    last = 0.0
    with progress(title) as show:

        def update(state: "PatternProgress") -> None:
            nonlocal last
            show(state.done, state.total, f"{state.rate:.0f} updates/s")
            if preview is not None and time.monotonic() - last > PREVIEW:
                last = time.monotonic()
                state.save(preview)

        yield update
