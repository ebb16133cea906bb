"""The index of a study's folder: one SQLite row and one safetensors file for each finished item, in one transaction."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from innersight.errors import InnersightError, brief, printable
from innersight.storage import index
from innersight.storage.study_folder import StudyFolder, parsed
from innersight.storage.writing import is_full, write_tensors

_VALUES = "values"


@dataclass(frozen=True)
class Item:
    """A finished piece of work: plain data, and the file of its tensors where it has any."""

    key: str
    document: dict[str, Any]
    file: Path | None
    seconds: float

    def tensors(self) -> dict[str, Tensor]:
        """Read the item's tensors. Raises InnersightError where their file is not whole."""
        return load_tensors(self.file) if self.file else {}


@dataclass(frozen=True)
class Store:
    """The folder `index.sqlite` and `values/` live in. inside : its paths."""

    inside: StudyFolder

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.inside.folder

    @classmethod
    def create(cls, folder: str | Path) -> "Store":
        """Open the store in `folder`, making it where it does not exist. Raises InnersightError when it cannot."""
        inside = StudyFolder(Path(folder))
        if inside.folder.is_file():
            raise InnersightError(f"{folder} is a file; give a folder for the study")
        with clear_errors(inside.folder):
            inside.folder.mkdir(parents=True, exist_ok=True)
            inside.check()
            if not inside.writable:
                raise InnersightError(
                    f"{folder} is read-only: choose another folder, or copy the study to a folder of your own"
                )
            inside.made(_VALUES)
            index.create(inside)
        return cls(inside)

    @classmethod
    def of_network(cls, folder: str | Path, digest: str) -> "Store":
        """Open the store in `folder` for what belongs to one network, making it where it does not exist.

        digest : of the network. Raises InnersightError when it cannot, and where it is the study of another network.
        """
        store = cls.create(folder)
        card = store.get("model")
        if card is not None:
            store.check_network(card, digest)
        return store

    def check_network(self, item: Item, digest: str) -> None:
        """Raise InnersightError where an item states another network than the one with this digest."""
        if item.document.get("digest") != digest:
            raise InnersightError(
                f"{printable(self.folder)} is a study of another network, or of another state of this one: run "
                "`innersight study` into it first, or choose another folder"
            )

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open an existing store. Raises InnersightError when there is none, and where a link or the like is in it."""
        return cls(StudyFolder.open(folder))

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from working on this folder; it ends with the process, however that ends.

        Raises InnersightError where another one is at work, and on a read-only medium.
        """
        return index.locked(self.inside)

    def done(self, key: str, settings: Mapping[str, Any]) -> bool:
        """Whether the item is finished with exactly these settings and its file is there and whole."""
        with index.reading(self.inside) as db:
            row = db.execute("SELECT settings, file FROM items WHERE key = ?", (key,)).fetchone()
        if row is None or row[0] != _text(settings):
            return False
        file = self._file(key, row[1])
        return file is None or _whole(file)

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
        with clear_errors(self.folder):
            if tensors:
                file = _name(key)
                write_tensors(self.inside.path(_VALUES, file), tensors)
                file = f"{_VALUES}/{file}"
            with index.writing(self.inside) as db:
                db.execute(index.UPSERT, (key, _text(settings), _text(document), file, seconds))

    def get(self, key: str) -> Item | None:
        """Return a finished item, or None."""
        return next(iter(self._rows("SELECT key, document, file, seconds FROM items WHERE key = ?", key)), None)

    def settings(self, key: str) -> dict[str, Any] | None:
        """Return the settings that an item was made with, None where there is none."""
        with index.reading(self.inside) as db:
            row = db.execute("SELECT settings FROM items WHERE key = ?", (key,)).fetchone()
        where = f"{self.folder / index.INDEX}, settings of {brief(key)!r}"
        return None if row is None else parsed(index.typed(row, (str,), self.inside)[0], where)

    def items(self) -> list[Item]:
        """Return the finished items, in the order they were first made."""
        return list(self._rows("SELECT key, document, file, seconds FROM items ORDER BY rowid"))

    def names(self) -> list[str]:
        """Return the keys of the finished items, in the order they were first made."""
        with index.reading(self.inside) as db:
            rows = db.execute("SELECT key FROM items ORDER BY rowid").fetchall()
        return [index.typed(row, (str,), self.inside)[0] for row in rows]

    def drop_others(self, keys: set[str]) -> None:
        """Forget every item whose key is not in `keys`, with its file."""
        others = [key for key in self.names() if key not in keys]
        with clear_errors(self.folder), index.writing(self.inside) as db:
            for key in others:
                db.execute("DELETE FROM items WHERE key = ?", (key,))
                self.inside.remove(_VALUES, _name(key))

    def _rows(self, query: str, *values: str) -> Iterator[Item]:
        with index.reading(self.inside) as db:
            rows = db.execute(query, values).fetchall()
        for row in rows:
            key, document, file, seconds = index.typed(row, (str, str, str | None, (int, float)), self.inside)
            found = parsed(document, f"{self.folder / index.INDEX}, item {brief(key)!r}")
            yield Item(key, found, self._file(key, file), float(seconds))

    def _file(self, key: str, stated: object) -> Path | None:
        """Return the path of an item's file. The index says whether there is one: its name is made from the key."""
        if stated is None:
            return None
        if stated != f"{_VALUES}/{_name(key)}":
            raise InnersightError(
                f"{self.folder / index.INDEX} names {brief(stated)!r} for the values of {brief(key)!r}, which "
                f"lie in {_VALUES}/{brief(_name(key))} in every study: make the study again, or ask for another copy"
            )
        return self.inside.path(_VALUES, _name(key))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors. Raises InnersightError where it is missing, cut off, or no such file."""
    try:
        found: dict[str, Tensor] = load_file(path)
    # What safetensors and torch raise for a header that is not what they wrote.
    except (OSError, safetensors.SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise InnersightError(
            f"{path} is missing or damaged ({printable(error)}): delete it and run the study or scan again, or ask for "
            "another copy"
        ) from error
    return found


def _name(key: str) -> str:
    return f"{quote(key, safe='')}.safetensors"


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
def clear_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk into one sentence; what was finished before stays."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        if is_full(error):
            raise InnersightError(
                f"the disk of {folder} is full; free some space and run the same command to resume"
            ) from error
        raise InnersightError(f"{folder} cannot be written: {error}") from error
