"""The paths of a study: every read, write and deletion in a study's folder goes through this file.

A study may come from a stranger. Whatever its index, its documents and its folders say, nothing outside of the folder
is opened, written or deleted: names are plain (no `..`, no absolute path), and what lies under a name is a plain folder
or a regular file (no link, device or pipe). docs/decisions/0013-studies-of-strangers.md says why.
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, brief, printable
from innersight.storage.writing import write_bytes

# What a study consists of; whatever else lies in its folder is not touched.
FOLDERS = ("values", "web", "images", "sprites", "atlas")
DATABASES = ("index.sqlite", "lock.sqlite")
# What Python and torch raise for values of another type, shape or content than is expected.
_FOREIGN = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, AssertionError, StopIteration,
)  # fmt: skip
_ANEW = "make the study again, or ask for another copy"
LONGEST = 255  # bytes of a file's name, on all common systems
SIDES = ("", "-wal", "-shm", "-journal")


class GoneError(InnersightError):
    """Raised where a study, or a part of it, is not there (any more)."""


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study, as the person at the keyboard named it."""

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> "StudyFolder":
        """Return an existing study's folder once everything in it is looked at.

        Raises GoneError where there is no study, InnersightError where it holds a link or another thing that is neither
        a folder nor a file.
        """
        found = cls(Path(folder))
        if found.file("index.sqlite") is None:
            raise GoneError(f"{folder} is not a study (no index.sqlite); `innersight study MODEL IMAGES` makes one")
        found.check()
        return found

    def check(self) -> None:
        """Look at everything that belongs to the study. Raises InnersightError for what is no folder and no file."""
        for name in DATABASES:
            for side in SIDES:
                self.path(name + side)
        for name in FOLDERS:
            for _ in self.walk(name):
                pass

    def path(self, *names: str) -> Path:
        """Return FOLDER/NAME/NAME, which may not be there yet.

        Raises InnersightError for a name that is not plain, and where a part of the path is a link or the like.
        """
        at, above = self.folder, True
        for name in names:
            if not is_plain(name):
                raise InnersightError(f"{self.folder}: {brief(name)!r} is no name of a file of a study")
            if not above:
                raise InnersightError(f"{at} is a file where a study has a folder: remove it, or copy the study anew")
            at = at / name
            above = _kind(at) in ("folder", None)
        return at

    def file(self, *names: str) -> Path | None:
        """Return the path of a file of the study, or None where there is none. Raises as `path`, and for a folder."""
        path = self.path(*names)
        kind = _kind(path)
        if kind == "folder":
            raise InnersightError(f"{path} is a folder where a study has a file: remove it, or copy the study anew")
        return path if kind else None

    def files(self, *names: str) -> dict[str, Path]:
        """Return the files directly in a folder of the study by their names; none where it is not there."""
        return {path.name: path for path in self.walk(*names, deep=False)}

    def walk(self, *names: str, deep: bool = True) -> Iterator[Path]:
        """Yield the files in a folder of the study, and in those below. Raises InnersightError as `check`."""
        path = self.path(*names)
        if _kind(path) != "folder":
            return
        with _read(path):
            listed = sorted(os.listdir(path))
        for name in listed:
            kind = _kind(path / name)
            if kind == "file":
                yield path / name
            elif kind == "folder" and deep:
                yield from self.walk(*names, name)

    def made(self, *names: str) -> Path:
        """Return a folder of the study, made where it is not there."""
        path = self.path(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, data: bytes, *names: str) -> Path:
        """Write a file of the study in one step, and the folders above it."""
        return write_bytes(self.path(*names), data)

    def read(self, *names: str) -> bytes:
        """Return what a file of the study holds. Raises GoneError where it is not there."""
        path = self.file(*names)
        if path is None:
            raise GoneError(f"{self.path(*names)} has been removed")
        return read(path)

    def remove(self, *names: str) -> None:
        """Delete a file of the study where it is there."""
        path = self.file(*names)
        if path is not None:
            path.unlink(missing_ok=True)

    def clear(self, *names: str) -> None:
        """Delete a folder of the study with all that is in it, where it is there."""
        path = self.path(*names)
        if _kind(path) == "folder":
            shutil.rmtree(path)

    @property
    def writable(self) -> bool:
        """Whether anything can be written here: not so on a read-only medium."""
        return os.access(self.folder, os.W_OK)


def is_plain(name: str) -> bool:
    """Return whether a name can be that of a file of a study: it leads nowhere else."""
    short = len(name.encode(errors="replace")) <= LONGEST
    return short and name not in ("", ".", "..") and not any(c in name for c in "/\\\0")


def read(path: Path) -> bytes:
    """Return what a file that was found in a study holds. Raises GoneError where it is not there any more."""
    with _read(path):
        return path.read_bytes()


def parsed(text: str | bytes, what: object, remedy: str = _ANEW) -> dict[str, Any]:
    """Return a document, an object of JSON, that somebody else may have written.

    what : named where it is none. Raises InnersightError.
    """
    with written_by_innersight(what, remedy):
        found = json.loads(text)
        # A text with half a character cannot be written again, but for those that stand for bytes in names of files.
        json.dumps(found, ensure_ascii=False).encode(errors="surrogateescape")
        if not isinstance(found, dict):
            raise TypeError(f"{type(found).__name__} where an object is expected")
        return found


@contextmanager
def written_by_innersight(what: object, remedy: str = _ANEW) -> Iterator[None]:
    """Say in one sentence that a part of a study is not as innersight writes it: any of its values may be anything.

    Around what turns stored values into documents and the like, and around nothing that computes.
    """
    try:
        yield
    except InnersightError:
        raise
    except _FOREIGN as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        reason = f"{printable(what)} is not as innersight writes it ({brief(message)})"
        raise InnersightError(f"{reason}: {remedy}") from error


def _kind(path: Path) -> str | None:
    """Return "folder", "file", or None where there is nothing. Raises InnersightError for everything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InnersightError(f"{printable(path)} cannot be accessed: {printable(error)}") from error
    # On Windows a junction is a link too.
    linked = stat.S_ISLNK(found.st_mode) or bool(
        getattr(found, "st_file_attributes", 0) & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
    )
    if linked or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        what = "a link" if linked else "no file and no folder"
        raise InnersightError(
            f"{printable(path)} is {what}: a study holds plain files and folders only, and nothing behind a link is "
            "opened or deleted; remove it, or copy the study with what it points to"
        )
    return "folder" if stat.S_ISDIR(found.st_mode) else "file"


@contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise GoneError(f"{printable(path)} has been removed") from error
    except OSError as error:
        raise InnersightError(f"{printable(path)} cannot be read: {printable(error.strerror)}") from error
