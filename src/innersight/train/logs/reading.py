"""Find the log in what was given, and read it with the format that it is of."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from innersight.errors import InnersightError, printable
from innersight.registry import Entry
from innersight.storage.bounded import opened, reason
from innersight.train.logs.log import ReadLog, TrainingLog, listed, log_formats

HEAD = 4096
MAX_FILES = 10_000
MAX_DEPTH = 8
ANY_SIZE = 2**62  # each format has a limit of its own
WHAT = "training log"


def read_log(given: str | Path) -> TrainingLog:
    """Read the log of a training: a file, or a folder in which one lies.

    Nothing in it is executed, no link in a folder is followed, and no more than a bounded part of a file is held.

    Parameters
    ----------
    given
        A file of one of the formats in `log_formats`, or a folder. Of several logs in a folder the one of the format
        that says most is read, which a note says.

    Raises
    ------
    InnersightError
        For what is missing, too large, of no known format or damaged, and for a folder with several logs of one kind.
    MissingExtraError
        For event files without TensorBoard.

    """
    path = Path(given)
    whole = not path.is_dir()
    found: dict[str, dict[str, Path]] = {}
    for name, file in [(path.name, path)] if whole else _files(path):
        with opened(file, what=WHAT, limit=ANY_SIZE) as stream:
            head = stream.read(HEAD)
        for entry in log_formats.entries():
            if entry.fits(name, head):
                found.setdefault(entry.name, {})[name] = file
                break
    known = ", ".join(f"{entry.title} ({entry.use})" for entry in _ordered())
    if not found:
        where = "is" if whole else "holds"
        raise InnersightError(f"{printable(given)} {where} no training log that is known: {known}")
    entry, *others = [entry for entry in _ordered() if entry.name in found]
    files = found[entry.name]
    if len(files) > 1 and not entry.several:
        raise InnersightError(
            f"{printable(given)} holds {len(files)} logs ({listed(sorted(files))}): name the one to read"
        )
    log = entry.function(dict(sorted(files.items())))
    if not log.scalars and not log.histograms and not log.record:
        raise InnersightError(f"{printable(given)}: the {WHAT} ({entry.title}) holds no values yet")
    notes = [*log.notes]
    for other in others:
        notes.append(f"Not read: {other.title} in {listed(sorted(found[other.name]))}; name it instead to see it.")
    return replace(log, title=entry.title, files=tuple(map(printable, sorted(files))), notes=notes)


def _ordered() -> list[Entry[ReadLog]]:
    return sorted(log_formats.entries(), key=lambda entry: (entry.order, entry.name))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the regular files in a folder and those inside it, by their path in it; links are not followed."""
    waiting, seen = [(folder, 0)], 0
    while waiting:
        at, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(at), key=lambda one: one.name)
        except OSError as error:
            raise InnersightError(f"{printable(at)}: cannot be opened ({reason(error)})") from error
        for one in entries:
            seen += 1
            if seen > MAX_FILES:
                raise InnersightError(
                    f"{printable(folder)} holds more than {MAX_FILES:,} files: name the folder or file of the log"
                )
            if one.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                waiting.append((Path(one.path), depth + 1))
                continue
            if one.is_file(follow_symlinks=False):
                yield Path(one.path).relative_to(folder).as_posix(), Path(one.path)
