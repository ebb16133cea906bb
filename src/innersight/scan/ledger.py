"""The scan on disk: after each shard its sums and pictures in one transaction, to go on from after a kill."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from innersight.errors import InnersightError, printable
from innersight.inputs import Entry
from innersight.store import Store, told
from innersight.writing import remove_leftovers, write_tensors

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scan (
    one INTEGER PRIMARY KEY CHECK (one = 1), settings TEXT NOT NULL, done INTEGER NOT NULL, pictures INTEGER NOT NULL,
    file TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS scan_pictures (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, label TEXT, class INTEGER NOT NULL, likeness INTEGER NOT NULL,
    stamp TEXT NOT NULL, digest TEXT NOT NULL, broken TEXT
);
"""
_PREFIX = "scan-"
SPRITES = "sprites"  # the folder of sheets of its examples


@dataclass(frozen=True)
class Record:
    """A picture of the scan.

    label : what its source calls its class. class_ : number of the model's class, or -1. likeness : see
    `innersight.scan.likeness`. stamp, digest : see `innersight.inputs.Entry`. broken : why it could not be read.
    """

    number: int
    name: str
    label: str | None
    class_: int
    likeness: int
    stamp: str = ""
    digest: str = ""
    broken: str | None = None


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a scan is. done : entries of the source. pictures : those of them that could be read."""

    done: int
    pictures: int
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Ledger:
    """The tables `scan` and `scan_pictures` of a study's index, and one file of sums in its `values/`."""

    store: Store

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any], *, overwrite: bool) -> "Ledger":
        """Open it, empty with `overwrite`; sweep up what a kill left behind.

        Raises InnersightError where a scan with other settings is there.
        """
        ledger = cls(store)
        with told(store.folder), closing(store.connect()) as db, db:
            db.executescript(_SCHEMA)
            row = db.execute("SELECT settings, file FROM scan").fetchone()
            if row is not None and overwrite:
                db.execute("DELETE FROM scan")
                db.execute("DELETE FROM scan_pictures")
                shutil.rmtree(store.folder / SPRITES, ignore_errors=True)
                row = None
        if row is not None:
            _same(json.loads(row[0]), settings, store)
        with told(store.folder):
            remove_leftovers(store.folder / "values")
            for file in (store.folder / "values").glob(f"{_PREFIX}*"):
                if row is None or file.name != row[1]:
                    file.unlink()
        return ledger

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of the scan in the study's folder; None where there is none."""
        row = self._scan()
        return None if row is None else json.loads(row[3])

    def progress(self) -> Progress | None:
        """Return how far the scan is; None at its beginning. Raises InnersightError where its file is damaged."""
        row = self._scan()
        if row is None:
            return None
        path = self.store.folder / "values" / row[2]
        try:
            return Progress(row[0], row[1], safetensors.torch.load_file(path))
        except (OSError, safetensors.SafetensorError) as error:
            raise InnersightError(f"{path} is damaged ({error}); scan anew with --overwrite") from error

    def commit(
        self,
        settings: Mapping[str, Any],
        done: int,
        pictures: int,
        tensors: Mapping[str, Tensor],
        records: Iterable[Record],
    ) -> None:
        """Write a shard: the sums under a new name, then the new pictures and that name in one transaction."""
        folder = self.store.folder / "values"
        file = f"{_PREFIX}{done:010}.safetensors"
        rows = [
            (r.number, r.name, r.label, r.class_, r.likeness, r.stamp, r.digest, r.broken)
            for r in records
        ]  # fmt: skip
        with told(self.store.folder):
            write_tensors(folder / file, tensors, durable=True)
            with closing(self.store.connect()) as db, db:
                db.executemany("INSERT INTO scan_pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
                db.execute(
                    "INSERT OR REPLACE INTO scan VALUES (1, ?, ?, ?, ?)",
                    (_text(settings), done, pictures, file),
                )
            for other in folder.glob(f"{_PREFIX}*"):
                if other.name != file:
                    other.unlink()

    def check(self, source: Iterator[Entry], done: int) -> None:
        """Take the first `done` entries from `source` and compare them with those that were scanned.

        An entry whose stamp is the same is taken to be the same; any other is read and its digest compared. Raises
        InnersightError that names the first that changed, or is missing, new or labelled otherwise.
        """
        with told(self.store.folder), closing(self.store.connect()) as db:
            rows = db.execute("SELECT name, stamp, digest, label FROM scan_pictures ORDER BY number")
            items = (next(source, None) for _ in range(done))
            for row, item in zip_longest(rows, items):
                if row is None or item is None or row[0] != item.name:
                    was = printable(row[0]) if row else "nothing"
                    now = printable(item.name) if item else "nothing"
                    raise InnersightError(
                        f"the pictures are not those of the scan in {self.store.folder}: {now} is where {was} was; "
                        "give the same ones, or scan anew with --overwrite"
                    )
                stamp = item.stamp()
                if (not stamp or stamp != row[1]) and item.digest() != row[2]:
                    raise InnersightError(
                        f"{printable(item.name)} changed since it was scanned into {self.store.folder}; "
                        "put it back, or scan anew with --overwrite"
                    )
                label = None if item.label is None else str(item.label)
                if label != row[3]:
                    raise InnersightError(
                        f"{printable(item.name)} was labelled {printable(row[3])} when it was scanned into "
                        f"{self.store.folder} and is {printable(label)} now; scan anew with --overwrite"
                    )

    def records(self, numbers: Sequence[int]) -> dict[int, Record]:
        """Return the records of these pictures, in order."""
        found: dict[int, Record] = {}
        query = "SELECT number, name, label, class, likeness, stamp, digest FROM scan_pictures WHERE number = ?"
        with told(self.store.folder), closing(self.store.connect()) as db:
            for number in numbers:
                found[number] = Record(*db.execute(query, (number,)).fetchone())
        return found

    def broken(self) -> list[str]:
        """Return one sentence for each file that could not be read."""
        return [row[0] for row in self._rows("SELECT broken FROM scan_pictures WHERE broken NOT NULL ORDER BY number")]

    def labels(self) -> dict[tuple[str, int], int]:
        """Return how many of the pictures read have each label and number of its class, -1 for none of the model's."""
        query = (
            "SELECT label, class, COUNT(*) FROM scan_pictures WHERE label NOT NULL AND broken IS NULL "
            "GROUP BY label, class ORDER BY MIN(number)"
        )
        return {(label, class_): count for label, class_, count in self._rows(query)}

    def hashes(self) -> np.ndarray:
        """Return the perceptual hashes of all pictures that could be read, int64."""
        with told(self.store.folder), closing(self.store.connect()) as db:
            rows = db.execute("SELECT likeness FROM scan_pictures WHERE broken IS NULL")
            return np.fromiter((row[0] for row in rows), np.int64)

    def _scan(self) -> tuple[int, int, str, str] | None:
        with told(self.store.folder), closing(self.store.connect()) as db:
            # A folder that was never scanned has no such table.
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'scan'").fetchone():
                return None
            row: tuple[int, int, str, str] | None = db.execute(
                "SELECT done, pictures, file, settings FROM scan"
            ).fetchone()
            return row

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with told(self.store.folder), closing(self.store.connect()) as db:
            return db.execute(query).fetchall()


def _same(before: Mapping[str, Any], now: Mapping[str, Any], store: Store) -> None:
    for key, value in now.items():
        if before.get(key) != value:
            shown = f"was {before.get(key)} and is {value} now"
            raise InnersightError(
                f"{store.folder} holds a scan with another setting: {key} {shown}; "
                "ask for the same, name another folder, or scan anew with --overwrite"
            )


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)
