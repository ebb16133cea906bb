"""What tells one state of a study's index from another, without loading torch."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from innersight import __version__
from innersight.errors import InnersightError


def stamp(folder: Path) -> str:
    """Return a digest of everything finished in a study's folder, and of this version of innersight.

    Documents that carry the same stamp show what the folder holds. Raises InnersightError where there is no study.
    """
    if not (folder / "index.sqlite").is_file():
        raise InnersightError(f"{folder} is not a study (no index.sqlite); `innersight study MODEL PICTURES` makes one")
    digest = hashlib.sha256(__version__.encode())
    try:
        with closing(sqlite3.connect(folder / "index.sqlite", timeout=30)) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
                columns = {"items": "key, settings, finished", "scan": "done, pictures, file"}.get(table)
                if columns:
                    digest.update(repr(db.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()).encode())
    except sqlite3.Error as error:
        raise InnersightError(f"{folder}/index.sqlite: {error}; make the study again") from error
    return digest.hexdigest()[:16]
