"""The index of a study, `index.sqlite`: opened so that a file that somebody else wrote can do nothing but hold rows."""

import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from innersight.errors import InnersightError, printable
from innersight.storage.study_folder import DATABASES, SIDES, GoneError, StudyFolder

INDEX, LOCK = DATABASES
PATIENCE = 0.5  # seconds; somebody who only looks whether the lock is held holds it for a moment
TABLES = {
    "items": """CREATE TABLE items (
    key TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    document TEXT NOT NULL,
    file TEXT,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)""",
    "identity": "CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL)",
    "scan": """CREATE TABLE scan (
    one INTEGER PRIMARY KEY CHECK (one = 1), settings TEXT NOT NULL, done INTEGER NOT NULL, images INTEGER NOT NULL,
    file TEXT NOT NULL
)""",
    "scan_images": """CREATE TABLE scan_images (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, label TEXT, class INTEGER NOT NULL, phash INTEGER NOT NULL,
    stamp TEXT NOT NULL, digest TEXT NOT NULL, broken TEXT
)""",
    "scan_predictions": """CREATE TABLE scan_predictions (
    number INTEGER PRIMARY KEY, predicted INTEGER NOT NULL, score REAL NOT NULL, confidence REAL, best BLOB NOT NULL,
    own REAL, rank INTEGER, trained INTEGER
)""",
}
LONGEST = 2**28  # bytes of one value
_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")
UPSERT = """
INSERT INTO items (key, settings, document, file, seconds) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET settings = excluded.settings, document = excluded.document, file = excluded.file,
    seconds = excluded.seconds, finished = CURRENT_TIMESTAMP
"""


def create(folder: StudyFolder) -> None:
    """Make the index where there is none, with an identity of its own. Raises InnersightError where it cannot."""
    with _sentences(folder), closing(_connect(folder, "rwc")) as db, db:
        # Nobody reads meanwhile what is not there yet, and two that begin at once make the same tables.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("BEGIN IMMEDIATE")
        existing = _tables(db, folder)
        for name in ("items", "identity"):
            if name not in existing:
                db.execute(TABLES[name])
        db.execute("INSERT OR IGNORE INTO identity VALUES (1, ?)", (secrets.token_hex(16),))


@contextmanager
def reading(folder: StudyFolder) -> Iterator[sqlite3.Connection]:
    """Give the index to read from; nothing is written, so it may lie on a read-only medium.

    Raises InnersightError for an index that is not innersight's.
    """
    with _sentences(folder), ExitStack() as stack:
        db = stack.enter_context(closing(_connect(folder, *_source(folder, stack))))
        db.execute("PRAGMA query_only=ON")
        _tables(db, folder)
        yield db


@contextmanager
def writing(folder: StudyFolder) -> Iterator[sqlite3.Connection]:
    """Give the index to change in one transaction. Raises InnersightError for an index that is not innersight's."""
    with _sentences(folder), closing(_connect(folder, "rw")) as db:
        _tables(db, folder)
        with db:
            yield db


@contextmanager
def locked(folder: StudyFolder) -> Iterator[None]:
    """Keep other processes from working on this folder; it ends with the process, however that ends.

    Raises InnersightError where another one is at work.
    """
    if not folder.folder.is_dir():
        raise GoneError(f"{folder.folder} has been removed")
    if not folder.writable:
        raise InnersightError(f"{folder.folder} is read-only: copy the study to a folder of your own to compute more")
    path = _alone(folder, LOCK)
    with _sentences(folder), closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise InnersightError(f"{folder.folder} cannot be written: {error}") from error
            raise InnersightError(
                f"{folder.folder}: another process is working on this study; wait for it, or choose another folder"
            ) from error
        yield


def at_work(folder: StudyFolder) -> bool:
    """Return whether a process holds the lock of a study."""
    if folder.file(LOCK) is None:
        return False
    address = f"{_alone(folder, LOCK).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=0)) as db:
        try:
            db.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.DatabaseError as error:
            return "locked" in str(error)
    return False


def identity(folder: StudyFolder) -> str | None:
    """Return what identifies a study among all studies; None for one without."""
    with reading(folder) as db:
        if not has(db, "identity"):
            return None
        row = db.execute("SELECT id FROM identity").fetchone()
    return None if row is None else str(row[0])


def renew(folder: StudyFolder) -> None:
    """Give a study another identity."""
    with writing(folder) as db:
        if not has(db, "identity"):
            db.execute(TABLES["identity"])
        db.execute("INSERT OR REPLACE INTO identity VALUES (1, ?)", (secrets.token_hex(16),))


def has(db: sqlite3.Connection, table: str) -> bool:
    """Say whether a table is there: a folder that was never scanned has none for a scan."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def typed(row: tuple[Any, ...] | None, kinds: tuple[Any, ...], folder: StudyFolder) -> Any:
    """Return a row whose values are of these types: a column of SQLite may hold any. Raises InnersightError."""
    if row is not None:
        for value, kind in zip(row, kinds, strict=True):
            if not isinstance(value, kind):
                raise _foreign(folder, f"a row holds {printable(repr(value)[:60])} where another type is expected")
    return row


def _source(folder: StudyFolder, stack: ExitStack) -> tuple[str, Path | None]:
    """Return how to open the index, and a copy to open instead where it cannot be read where it is."""
    index, log = folder.file(INDEX), folder.file(f"{INDEX}-wal")
    found = [_stat(index), _stat(log)]
    if folder.writable and not any(stat is not None and stat.st_nlink > 1 for stat in found):
        return "rw", None
    # SQLite wants to write beside what it reads, unless it is told that nobody changes it.
    if found[1] is None or found[1].st_size == 0:
        return "ro&immutable=1", None
    copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="innersight-")))
    for side in ("", "-wal"):
        shutil.copyfile(folder.path(INDEX + side), copy / (INDEX + side))
    return "rw", copy / INDEX


def _stat(path: Path | None) -> os.stat_result | None:
    """Return what is known of a file, None where there is none: the last to close an index deletes its log."""
    try:
        return None if path is None else path.stat()
    except FileNotFoundError:
        return None


def _connect(folder: StudyFolder, mode: str, copy: Path | None = None) -> sqlite3.Connection:
    if mode != "rwc" and folder.file(INDEX) is None:
        raise GoneError(f"{folder.folder} has been removed or is not a study: it has no {INDEX}")
    path = copy or _alone(folder, INDEX, written=not mode.startswith("ro"))
    uri = f"file:{quote(os.fspath(path.absolute()))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=30)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA cell_size_check=ON")
    return db


def _alone(folder: StudyFolder, name: str, *, written: bool = True) -> Path:
    """Return the path of a database. SQLite writes where it lies, so it must not be another file's second name."""
    for side in SIDES:
        path = folder.file(name + side)
        if path is None:
            continue
        if written and path.stat().st_nlink > 1:
            raise InnersightError(
                f"{path} is a hard link, a second name of a file elsewhere, and would be changed there: copy the study"
            )
        if side == "-journal" and path.read_bytes()[-8:] == _JOURNAL_END:
            # It names a file for SQLite to open, and to delete.
            raise InnersightError(f"{path} names a file outside of the study: delete it, or ask for another copy")
    return folder.path(name)


def _tables(db: sqlite3.Connection, folder: StudyFolder) -> set[str]:
    """Return the names of the tables. Raises InnersightError for a table, view or trigger that is not innersight's."""
    found = set()
    for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall():
        if kind == "index" and sql is None and table in TABLES:
            continue
        if kind != "table" or name != table or TABLES.get(name) != sql:
            raise _foreign(folder, f"it holds a {printable(kind)} {printable(name)} that innersight does not write")
        found.add(name)
    return found


def _foreign(folder: StudyFolder, why: str) -> InnersightError:
    return InnersightError(
        f"{folder.folder / INDEX} is not an index of this version of innersight ({why}): make the study again, or "
        "choose another folder"
    )


@contextmanager
def _sentences(folder: StudyFolder) -> Iterator[None]:
    """Turn what SQLite says into one sentence; what was finished before stays."""
    try:
        yield
    except sqlite3.Error as error:
        reason = f"{folder.folder / INDEX}: {printable(error)}"
        if not isinstance(error, sqlite3.OperationalError) or isinstance(error, sqlite3.DataError):
            raise InnersightError(f"{reason}; the index is damaged: make the study again") from error
        raise InnersightError(f"{reason}; free some disk space or choose another folder") from error
