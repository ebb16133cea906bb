"""The index of a study's folder: one SQLite row and one safetensors file for each finished item, in one transaction."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from innersight.errors import InnersightError
from innersight.writing import is_full, write_tensors

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    key TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    document TEXT NOT NULL,
    file TEXT,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""
_UPSERT = """
INSERT INTO items (key, settings, document, file, seconds) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET settings = excluded.settings, document = excluded.document, file = excluded.file,
    seconds = excluded.seconds, finished = CURRENT_TIMESTAMP
"""


@dataclass(frozen=True)
class Item:
    """A finished piece of work: plain data, and the file of its tensors where it has any."""

    key: str
    document: dict[str, Any]
    file: Path | None
    seconds: float

    def tensors(self) -> dict[str, Tensor]:
        """Read the item's tensors."""
        return load_file(self.file) if self.file else {}


@dataclass(frozen=True)
class Store:
    """The folder `index.sqlite` and `values/` live in."""

    folder: Path

    @classmethod
    def create(cls, folder: str | Path) -> "Store":
        """Open the store in `folder`, making it where it does not exist. Raises InnersightError when it cannot."""
        folder = Path(folder)
        if folder.is_file():
            raise InnersightError(f"{folder} is a file; name a folder for the study")
        with told(folder):
            (folder / "values").mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(folder / "index.sqlite", timeout=30)) as db, db:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute(_SCHEMA)
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open an existing store. Raises InnersightError when there is none."""
        if not (Path(folder) / "index.sqlite").is_file():
            raise InnersightError(
                f"{folder} is not a study (no index.sqlite); `innersight study MODEL PICTURES` makes one"
            )
        return cls(Path(folder))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working on this folder; it ends with the process, however that ends.

        Raises InnersightError where another one is at work.
        """
        with closing(sqlite3.connect(self.folder / "lock.sqlite", timeout=0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise InnersightError(f"{self.folder} cannot be written: {error}") from error
                raise InnersightError(
                    f"{self.folder}: another process is at work on this study; wait for it, or name another folder"
                ) from error
            yield

    def done(self, key: str, settings: Mapping[str, Any]) -> bool:
        """Whether the item is finished with exactly these settings and its file is there and whole."""
        with told(self.folder), closing(self.connect()) as db:
            row = db.execute("SELECT settings, file FROM items WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] == _text(settings) and (row[1] is None or _whole(self.folder / row[1]))

    def put(
        self,
        key: str,
        settings: Mapping[str, Any],
        document: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        seconds: float,
    ) -> None:
        """Write an item: first its file, complete under its final name, then its row."""
        file = None
        with told(self.folder):
            if tensors:
                file = f"values/{quote(key, safe='')}.safetensors"
                write_tensors(self.folder / file, tensors)
            with closing(self.connect()) as db, db:
                db.execute(_UPSERT, (key, _text(settings), _text(document), file, seconds))

    def get(self, key: str) -> Item | None:
        """Return a finished item, or None."""
        return next(iter(self._rows("SELECT key, document, file, seconds FROM items WHERE key = ?", key)), None)

    def starting(self, prefix: str) -> list[Item]:
        """Return the finished items whose keys start with `prefix`, in the order they were first made."""
        query = "SELECT key, document, file, seconds FROM items WHERE substr(key, 1, length(?)) = ? ORDER BY rowid"
        return list(self._rows(query, prefix, prefix))

    def names(self) -> list[str]:
        """Return the keys of the finished items, in the order they were first made."""
        with told(self.folder), closing(self.connect()) as db:
            return [key for (key,) in db.execute("SELECT key FROM items ORDER BY rowid").fetchall()]

    def drop_others(self, keys: set[str]) -> None:
        """Forget every item whose key is not in `keys`, with its file."""
        with told(self.folder), closing(self.connect()) as db, db:
            for key, file in db.execute("SELECT key, file FROM items").fetchall():
                if key not in keys:
                    db.execute("DELETE FROM items WHERE key = ?", (key,))
                    if file:
                        (self.folder / file).unlink(missing_ok=True)

    def connect(self) -> sqlite3.Connection:
        """Open the index."""
        return sqlite3.connect(self.folder / "index.sqlite", timeout=30)

    def _rows(self, query: str, *values: str) -> Iterator[Item]:
        with told(self.folder), closing(self.connect()) as db:
            rows = db.execute(query, values).fetchall()
        for key, document, file, seconds in rows:
            yield Item(key, json.loads(document), self.folder / file if file else None, seconds)


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)


def _whole(path: Path) -> bool:
    """Whether a file of tensors is there and complete; reads its header only."""
    try:
        with safetensors.safe_open(path, framework="pt"):
            return True
    except (OSError, safetensors.SafetensorError):
        return False


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn a full disk or a broken index into one sentence; what was finished before stays."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        if is_full(error):
            raise InnersightError(f"the disk of {folder} is full; free some space and run again to go on") from error
        raise InnersightError(f"{folder} cannot be written: {error}") from error
    except sqlite3.Error as error:
        raise InnersightError(f"{folder}/index.sqlite: {error}; free the disk or name another folder") from error
