"""Zip archives of models (.pt, .pt2, .keras): what they would unpack to."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase

from innersight.errors import InnersightError, printable
from innersight.storage.bounded import MAX_TEXT, check_claim, reading


@contextmanager
def archive(file: BufferedIOBase, where: str, *, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose entries, as its directory declares them, can be held by a file of its size.

    where : the file's name, for messages. Raises InnersightError for what is no zip file, one that would unpack to far
    more than its size, and two entries of one name, of which two readers might see one each.
    """
    with reading(where, what):
        found = zipfile.ZipFile(file)
    with found:
        entries = found.infolist()
        check_claim(sum(entry.file_size for entry in entries), file.seek(0, 2), where)
        names = Counter(entry.filename.casefold() for entry in entries)
        twice = next((name for name, number in names.items() if number > 1), None)
        if twice is not None:
            raise InnersightError(f"{where}: refused, its entry {printable(twice)} occurs twice")
        yield found


def is_archive(file: BufferedIOBase) -> bool:
    """Whether a file begins as a zip file does; leaves it at its beginning."""
    file.seek(0)
    found = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    return found


def read_entry(found: zipfile.ZipFile, name: str, where: str, *, limit: int = MAX_TEXT) -> bytes:
    """Return the content of an entry. Raises InnersightError for one that is missing, damaged or above `limit`."""
    with reading(where, "archive"):
        if found.getinfo(name).file_size > limit:
            raise InnersightError(f"{where}: refused, its entry {printable(name)} has more than {limit:,} bytes")
        return found.read(name)
