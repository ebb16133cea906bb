"""What tells one state of a study's index from another, found out without loading torch."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from innersight import __version__
from innersight.errors import InnersightError


def stamp(folder: Path) -> str:
    """Return a digest of everything finished in a study's folder, and of this version of innersight.

    Documents that carry the same stamp show what the folder holds. Raises InnersightError where there is no study.
    """
    digest = hashlib.sha256(__version__.encode())
    with _index(folder) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            columns = {"items": "key, settings, finished", "scan": "done, pictures, file"}.get(table)
            if columns:
                digest.update(repr(db.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()).encode())
    return digest.hexdigest()[:16]


@contextmanager
def _index(folder: Path) -> Iterator[sqlite3.Connection]:
    if not (folder / "index.sqlite").is_file():
        raise InnersightError(f"{folder} is not a study (no index.sqlite); `innersight study MODEL PICTURES` makes one")
    try:
        with closing(sqlite3.connect(folder / "index.sqlite", timeout=30)) as db:
            yield db
    except sqlite3.Error as error:
        raise InnersightError(f"{folder}/index.sqlite: {error}; make the study again") from error


def fresh(folder: Path) -> bool:
    """Return whether the documents were written from the items there are, by this version.

    Raises InnersightError where there is no study.
    """
    now, study = stamp(folder), folder / "web" / "documents" / "study.json"
    if not study.is_file():
        return False
    try:
        return bool(json.loads(study.read_text(encoding="utf-8")).get("stamp") == now)
    except json.JSONDecodeError:
        return False


def holds(folder: Path, key: str) -> bool:
    """Return whether an item of this key is finished. Raises InnersightError where there is no study."""
    with _index(folder) as db:
        return db.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None
