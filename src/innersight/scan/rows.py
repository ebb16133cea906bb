"""The rows that a scan keeps of every image, wherever they are: in a study's index, or in a temporary file."""

import sqlite3
import weakref
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from innersight.scan.record import Record
from innersight.storage import index

TABLES = ("scan_images", "scan_predictions")


@runtime_checkable
class ScanRows(Protocol):
    """What the rows of a scan are read from."""

    def rows(self, query: str, kinds: tuple[Any, ...], parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, checked to be of these types."""

    def hashes(self) -> np.ndarray:
        """Return the perceptual hashes of all images that could be read, int64."""


def insert(db: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Add the images of a shard."""
    records = list(records)
    db.executemany(
        "INSERT INTO scan_images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(r.number, r.name, r.label, r.class_, r.phash, r.stamp, r.digest, r.broken) for r in records],
    )
    db.executemany(
        "INSERT INTO scan_predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (r.number, p.classes[0], p.scores[0], p.confidence, p.packed(), p.own, p.rank, r.trained)
            for r in records
            if (p := r.prediction) is not None
        ],
    )


class ScratchRows:
    """The rows of a scan that is kept in no study: in a temporary file of SQLite's, which ends with this object."""

    def __init__(self) -> None:
        # The empty name: a private database, on disk as far as it does not fit into SQLite's cache of 2 MiB.
        self._db = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._db.close)
        for table in TABLES:
            self._db.execute(index.TABLES[table])

    def add(self, records: Iterable[Record]) -> None:
        """Add the images of a shard."""
        with self._db:
            insert(self._db, records)

    def rows(self, query: str, kinds: tuple[Any, ...], parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; they are of their types, as nobody else wrote them."""
        return self._db.execute(query, parameters).fetchall()

    def hashes(self) -> np.ndarray:
        """Return the perceptual hashes of all images that could be read, int64."""
        found = self._db.execute("SELECT phash FROM scan_images WHERE broken IS NULL")
        return np.fromiter((row[0] for row in found), np.int64)
