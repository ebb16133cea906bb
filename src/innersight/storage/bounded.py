"""Files that somebody names: regular files of bounded size only, opened in one place."""

import io
import json
import os
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, printable

MIB = 2**20
MAX_TEXT = 64 * MIB  # labels, words, boxes, JSON
MAX_MODEL = 2**36  # weights and whole networks: 64 GiB
# Of declared to present bytes: weights hardly compress, but one tensor may be stored under two names.
MOST_TIMES = 4
SLACK = 16 * MIB
# What the readers of other libraries raise on damaged files. They were made for sound ones: anything may be missing.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AssertionError, AttributeError,
    BufferError, MemoryError, RuntimeError, NameError, struct.error, zlib.error, zipfile.BadZipFile,
    zipfile.LargeZipFile, pickle.UnpicklingError,
)  # fmt: skip


@contextmanager
def opened(path: str | Path, *, what: str = "file", limit: int = MAX_TEXT) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading, without waiting for pipes or devices.

    Parameters
    ----------
    path
        The file; a link to one is followed.
    what
        What it should be, for messages, such as "file of labels".
    limit
        The most bytes it may have.

    Raises
    ------
    InnersightError
        For what is missing, a folder, a pipe, a socket or a device, larger than `limit`, or closed to the user.

    """
    shown = printable(path)
    try:
        # A pipe without a writer would let an ordinary open() wait for ever.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise InnersightError(f"{shown}: no such {what}") from error
    # ValueError: a name with NUL or half a character in it.
    except (OSError, ValueError) as error:
        if os.path.isdir(path):
            raise InnersightError(f"{shown}: is a folder; give a {what}") from error
        raise InnersightError(f"{shown}: cannot be opened ({reason(error)}); give a {what}") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        kind = "a folder" if os.path.isdir(path) else "a pipe, socket or device"
        raise InnersightError(f"{shown}: is {kind}; give a {what}")
    with os.fdopen(number, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InnersightError(f"{shown}: {_mib(size)} is too large for a {what}; the limit is {_mib(limit)}")
        yield file


def check(path: str | Path, *, what: str = "file", limit: int = MAX_MODEL) -> Path:
    """Return `path` where `opened` would open it, for libraries that open files themselves. Raises as `opened`."""
    with opened(path, what=what, limit=limit):
        return Path(path)


def read_bytes(path: str | Path, *, what: str = "file", limit: int = MAX_TEXT) -> bytes:
    """Return the content of a file of at most `limit` bytes. Raises InnersightError as `opened` does."""
    with opened(path, what=what, limit=limit) as file:
        try:
            # Files of /proc tell no size.
            content = file.read(limit + 1)
        except OSError as error:
            raise InnersightError(f"{printable(path)}: cannot be read ({reason(error)})") from error
    if len(content) > limit:
        raise InnersightError(f"{printable(path)}: too large for a {what}; the limit is {_mib(limit)}")
    return content


def read_text(path: str | Path, *, what: str = "text file", limit: int = MAX_TEXT) -> str:
    r"""Return the text of a UTF-8 file, with or without a mark at its beginning, with \n at the end of each line.

    Raises InnersightError as `opened` does, and for another encoding.
    """
    content = read_bytes(path, what=what, limit=limit)
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise InnersightError(f"{printable(path)}: cannot be read as a {what}: save it as UTF-8 ({error})") from error


def read_json(path: str | Path, *, what: str = "JSON file", limit: int = MAX_TEXT) -> Any:
    """Return the content of a JSON file. Raises InnersightError as `opened` does, and for what is no JSON."""
    return parse_json(read_text(path, what=what, limit=limit), where=printable(path), what=what)


def parse_json(text: str | bytes, *, where: str, what: str = "JSON file") -> Any:
    """Return what a JSON text says. Raises InnersightError that begins with `where` for what is none."""
    try:
        return json.loads(text)
    # Deep nesting exhausts the stack; a number of thousands of digits, and bytes that are no text, are ValueErrors.
    except (ValueError, RecursionError) as error:
        raise InnersightError(f"{where}: not a readable {what} ({reason(error)})") from error


@contextmanager
def reading(path: str | Path, what: str, *further: type[Exception]) -> Iterator[None]:
    """Turn what another library raises about a damaged file into one sentence; InnersightError passes.

    further : exceptions that the library has of its own, besides `BROKEN`.
    """
    known: tuple[type[Exception], ...] = (*BROKEN, *further)
    try:
        yield
    except InnersightError:
        raise
    except known as error:
        raise InnersightError(f"{printable(path)}: not a readable {what} ({reason(error)})") from error


def check_claim(claimed: int, present: int, where: str) -> None:
    """Raise InnersightError when a file claims to hold far more bytes than it can.

    claimed : the bytes that its headers declare, once unpacked. present : the bytes of the file.
    """
    most = min(MOST_TIMES * present + SLACK, MAX_MODEL)
    if claimed > most:
        raise InnersightError(
            f"{where}: refused, it claims to hold {_mib(claimed)} in a file of {_mib(present)}; the limit is "
            f"{_mib(most)}: if the file is sound, save it again without compression"
        )


def _mib(size: int) -> str:
    return f"{size:,} bytes" if size < MIB else f"{size / MIB:,.0f} MiB"


def reason(error: BaseException) -> str:
    """Return what an error of another library says, in one printable line; its kind where that is only a word."""
    message = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())[:200]
    return printable(message if " " in message else f"{type(error).__name__} {message}".strip())
