"""The scan on disk: after each shard its sums and images in one transaction, so that it resumes after a kill."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from torch import Tensor

from innersight.errors import InnersightError, brief, printable
from innersight.inputs import ImageEntry
from innersight.scan.record import Record
from innersight.scan.rows import TABLES, insert
from innersight.storage import index
from innersight.storage.permit import Names, own_identity, remember, scanned_names
from innersight.storage.store import Store, clear_errors, load_tensors
from innersight.storage.study_folder import parsed, written_by_innersight
from innersight.storage.writing import remove_leftovers, write_tensors

_PREFIX, _VALUES = "scan-", "values"
_FILE = re.compile(r"scan-\d{10,20}\.safetensors", re.ASCII)
SPRITES = "sprites"  # the folder of sheets of its examples


@dataclass(frozen=True, eq=False)
class ScanProgress:
    """How far a scan is. done : entries of the source. images : those of them that could be read."""

    done: int
    images: int
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Ledger:
    """The tables `scan`, `scan_images` and `scan_predictions` of a study's index, and a file of sums in `values/`."""

    store: Store

    @classmethod
    def open(cls, store: Store, settings: Mapping[str, Any], *, overwrite: bool) -> "Ledger":
        """Open it, empty with `overwrite`; sweep up what a kill left behind.

        Raises InnersightError where a scan with other settings is there.
        """
        ledger, inside = cls(store), store.inside
        with clear_errors(store.folder), index.writing(inside) as db:
            for table in ("scan", *TABLES):
                if not index.has(db, table):
                    db.execute(index.TABLES[table])
                if overwrite:
                    db.execute(f"DELETE FROM {table}")
            if overwrite:
                inside.clear(SPRITES)
        row = ledger._scan()
        if row is not None:
            _same(ledger._settings(row), settings, store)
        own_identity(inside)
        with clear_errors(store.folder):
            remove_leftovers(inside.made(_VALUES))
            for name in inside.files(_VALUES):
                if name.startswith(_PREFIX) and (row is None or name != row[2]):
                    inside.remove(_VALUES, name)
        return ledger

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of the scan in the study's folder; None where there is none."""
        row = self._scan()
        return None if row is None else self._settings(row)

    def progress(self) -> ScanProgress | None:
        """Return how far the scan is; None at its beginning. Raises InnersightError where its file is damaged."""
        row = self._scan()
        if row is None:
            return None
        if not _FILE.fullmatch(row[2]):
            raise InnersightError(
                f"{self.store.folder / index.INDEX} names {brief(row[2])!r} for the sums of its scan, which is no "
                "name of such a file; scan again with --overwrite"
            )
        try:
            return ScanProgress(row[0], row[1], load_tensors(self.store.inside.path(_VALUES, row[2])))
        except InnersightError as error:
            raise InnersightError(f"{error}; or scan again with --overwrite") from error

    def remember(self, names: Names, new: Iterable[str] = ()) -> str | None:
        """Keep outside of the study that this user named its images: see `innersight.storage.permit`.

        names : of those scanned before; those of `new` are added. Both states are kept, as a kill may leave either.
        Return a sentence where nothing can be kept there.
        """
        before = names.digest()
        names.add(new)
        where = os.getcwd()
        return remember(self.store.inside, scan=[(before, where), (names.digest(), where)])

    def names(self) -> Names:
        """Return the names of all images of the scan, as their digest."""
        return scanned_names(self.store.inside)

    def commit(
        self,
        settings: Mapping[str, Any],
        done: int,
        images: int,
        tensors: Mapping[str, Tensor],
        records: Sequence[Record],
        names: Names,
    ) -> None:
        """Write a shard: the sums under a new name, then the new images and that name in one transaction.

        names : of the images before; these are added.
        """
        inside = self.store.inside
        file = f"{_PREFIX}{done:010}.safetensors"
        with clear_errors(self.store.folder):
            # In a folder of its own: safetensors writes by way of a hidden file, which a kill leaves behind.
            write_tensors(inside.path(_VALUES, file), tensors, durable=True)
            self.remember(names, (record.name for record in records))
            with index.writing(inside) as db:
                insert(db, records)
                db.execute(
                    "INSERT OR REPLACE INTO scan VALUES (1, ?, ?, ?, ?)",
                    (_text(settings), done, images, file),
                )
            for name in inside.files(_VALUES):
                if name.startswith(_PREFIX) and name != file:
                    inside.remove(_VALUES, name)

    def check(self, source: Iterator[ImageEntry], done: int) -> None:
        """Take the first `done` entries from `source` and compare them with those that were scanned.

        An entry whose stamp is the same is taken to be the same; any other is read and its digest compared. Raises
        InnersightError that names the first that changed, or is missing, new or labelled otherwise.
        """
        with index.reading(self.store.inside) as db:
            rows = db.execute("SELECT name, stamp, digest, label FROM scan_images ORDER BY number")
            items = (next(source, None) for _ in range(done))
            for row, item in zip_longest(rows, items):
                if row is None or item is None or row[0] != item.name:
                    was = brief(row[0]) if row else "nothing"
                    now = printable(item.name) if item else "nothing"
                    raise InnersightError(
                        f"the images are not those of the scan in {self.store.folder}: found {now} instead of {was}; "
                        "give the same images, or scan again with --overwrite"
                    )
                stamp = item.stamp()
                if (not stamp or stamp != row[1]) and item.digest() != row[2]:
                    raise InnersightError(
                        f"{printable(item.name)} changed since it was scanned into {self.store.folder}; "
                        "restore it, or scan again with --overwrite"
                    )
                label = None if item.label is None else str(item.label)
                if label != row[3]:
                    raise InnersightError(
                        f"{printable(item.name)} was labelled {brief(row[3])} when it was scanned into "
                        f"{self.store.folder} and is {printable(label)} now; scan again with --overwrite"
                    )

    def records(self, numbers: Sequence[int]) -> dict[int, Record]:
        """Return the records of these images, in order."""
        found: dict[int, Record] = {}
        query = "SELECT number, name, label, class, phash, stamp, digest, broken FROM scan_images WHERE number = ?"
        kinds = (int, str, str | None, int, int, str, str, str | None)
        with index.reading(self.store.inside) as db:
            for number in numbers:
                row = index.typed(db.execute(query, (number,)).fetchone(), kinds, self.store.inside)
                if row is None:
                    raise InnersightError(
                        f"{self.store.folder / index.INDEX} has no image {number} of its scan; "
                        "scan again with --overwrite"
                    )
                found[number] = Record(*row)
        return found

    def broken(self) -> list[str]:
        """Return one sentence for each file that could not be read."""
        rows = self.rows("SELECT broken FROM scan_images WHERE broken NOT NULL ORDER BY number", (str,))
        return [row[0] for row in rows]

    def labels(self) -> dict[tuple[str, int], int]:
        """Return how many of the images read have each label and number of its class, -1 for none of the model's."""
        query = (
            "SELECT label, class, COUNT(*) FROM scan_images WHERE label NOT NULL AND broken IS NULL "
            "GROUP BY label, class ORDER BY MIN(number)"
        )
        return {(label, class_): count for label, class_, count in self.rows(query, (str, int, int))}

    def of_class(self, class_: int) -> list[int]:
        """Return the numbers of the images read that belong to a class of the model."""
        with index.reading(self.store.inside) as db:
            rows = db.execute("SELECT number FROM scan_images WHERE class = ? AND broken IS NULL", (class_,))
            return sorted(index.typed(row, (int,), self.store.inside)[0] for row in rows)

    def hashes(self) -> np.ndarray:
        """Return the perceptual hashes of all images that could be read, int64."""
        with index.reading(self.store.inside) as db, written_by_innersight(f"{self.store.folder}, its scan"):
            rows = db.execute("SELECT phash FROM scan_images WHERE broken IS NULL")
            return np.fromiter((row[0] for row in rows), np.int64)

    def rows(self, query: str, kinds: tuple[Any, ...], parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, whose values are of these types. Raises InnersightError for others."""
        with index.reading(self.store.inside) as db:
            return [index.typed(row, kinds, self.store.inside) for row in db.execute(query, parameters)]

    def _scan(self) -> tuple[int, int, str, str] | None:
        with index.reading(self.store.inside) as db:
            # A folder that was never scanned has no such table.
            if not index.has(db, "scan"):
                return None
            found = db.execute("SELECT done, images, file, settings FROM scan").fetchone()
            (count,) = db.execute("SELECT COUNT(*) FROM scan_images").fetchone()
        row: tuple[int, int, str, str] | None = index.typed(found, (int, int, str, str), self.store.inside)
        if row is not None and not 0 <= row[1] <= row[0] == count:
            raise InnersightError(
                f"{self.store.folder / index.INDEX} counts {row[0]} images of its scan and holds {count}; "
                "scan again with --overwrite"
            )
        return row

    def _settings(self, row: tuple[int, int, str, str]) -> dict[str, Any]:
        return parsed(row[3], f"{self.store.folder / index.INDEX}, the settings of its scan")


def _same(before: Mapping[str, Any], now: Mapping[str, Any], store: Store) -> None:
    for key, value in now.items():
        if before.get(key) != value:
            shown = f"was {brief(before.get(key))} and is {brief(value)} now"
            raise InnersightError(
                f"{store.folder} holds a scan with other settings: {key} {shown}; "
                "use the same settings, name another folder, or scan again with --overwrite"
            )


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)
