"""What the logs that are CSV tables share."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from innersight.errors import InnersightError, brief, printable
from innersight.storage.bounded import read_text, reading
from innersight.train.logs.log import TrainingLog, listed, number_of, step_of

WHAT = "training log"
MAX_COLUMNS = 2000
ABSENT = frozenset({"", "NA", "None"})


def header_of(head: bytes) -> list[str]:
    """Return the names in the first line of a CSV file; empty for what is no text."""
    line = head.partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return []
    return [name.strip().strip('"') for name in text.rstrip("\r").split(_separator(text))]


def read_table(path: Path, *, axis: str, beside: frozenset[str]) -> TrainingLog:
    """Read a table with one row per step into scalars by column; empty cells are values that were not logged then.

    axis : the column that counts the rows. beside : other columns that are no values.
    Columns of texts are left out with a note. Raises InnersightError naming line and column of what is no number.
    """
    log = TrainingLog(axis=axis)
    texts: dict[str, str] = {}
    kinds: dict[str, str] = {}
    with reading(path, WHAT, csv.Error):
        for line, row in _rows(path):
            where = f"{printable(path)}, line {line}"
            stated = number_of(row.get(axis, ""))
            step = None if stated is None else step_of(stated)
            if step is None:
                raise InnersightError(f"{where}: {axis} is {brief(row.get(axis, ''), 40)!r}, which is no whole number")
            for name, cell in row.items():
                if name == axis or name in beside or cell.strip() in ABSENT:
                    continue
                value = number_of(cell)
                kind = kinds.setdefault(name, "text" if value is None else "number")
                if kind == "text":
                    texts[name] = cell
                elif value is None:
                    raise InnersightError(f"{where}: {brief(name, 40)!r} is {brief(cell, 40)!r}, which is no number")
                else:
                    log.series(name).add(step, value)
    if texts:
        log.notes.append(f"Columns that hold no numbers are left out: {listed(texts)}.")
    return log


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    text = read_text(path, what=WHAT)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text.partition("\n")[0]), strict=True)
    names = [name.strip() for name in next(reader, [])]
    if len(names) > MAX_COLUMNS:
        raise InnersightError(f"{printable(path)}: {len(names):,} columns; the limit is {MAX_COLUMNS:,}")
    if twice := {name for name in names if names.count(name) > 1}:
        raise InnersightError(f"{printable(path)}: two columns are named {listed(twice)}")
    for row in reader:
        # What is added to a file that was not empty may begin with the names again.
        if not row or [cell.strip() for cell in row] == names:
            continue
        if len(row) != len(names):
            raise InnersightError(
                f"{printable(path)}, line {reader.line_num}: {len(row)} cells under {len(names)} names: the file is "
                "cut off or damaged"
            )
        yield reader.line_num, dict(zip(names, row, strict=True))
