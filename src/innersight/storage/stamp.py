"""What distinguishes one state of a study's index from another, found out without loading torch."""

import hashlib
import json

from innersight import __version__
from innersight.storage import index
from innersight.storage.permit import mark_of
from innersight.storage.study_folder import StudyFolder, parsed

ANNOTATIONS = "annotations"  # the key of the item that holds them


def stamp(inside: StudyFolder) -> str:
    """Return a digest of everything finished in a study's folder, and of this version of innersight.

    Documents that carry the same stamp show what the folder holds. Annotations are no part of it: what writes them
    writes their document too. Raises InnersightError where there is no study.
    """
    digest = hashlib.sha256(__version__.encode())
    with index.reading(inside) as db:
        for table, columns in (("items", "key, settings, finished"), ("scan", "done, images, file")):
            if index.has(db, table):
                rows = db.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()
                digest.update(repr([row for row in rows if row[0] != ANNOTATIONS]).encode())
    return digest.hexdigest()[:16]


def fresh(inside: StudyFolder) -> bool:
    """Return whether the documents were written from the items there are, by this version.

    Raises InnersightError where there is no study.
    """
    now = stamp(inside)
    if inside.file("web", "documents", "study.json") is None:
        return False
    text = inside.read("web", "documents", "study.json")
    return parsed(text, inside.path("web", "documents", "study.json")).get("stamp") == now


def holds(inside: StudyFolder, key: str) -> bool:
    """Return whether an item of this key is finished. Raises InnersightError where there is no study."""
    with index.reading(inside) as db:
        return db.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None


def written(inside: StudyFolder) -> str:
    """Return a digest of all documents as they are."""
    digest = hashlib.sha256()
    for path in inside.walk("web", "documents"):
        names = path.relative_to(inside.folder).parts
        digest.update(json.dumps([names[2:], hashlib.sha256(inside.read(*names)).hexdigest()]).encode())
    return digest.hexdigest()


def shown(inside: StudyFolder) -> bool:
    """Return whether the documents are up to date, and as they were written on this machine by this user.

    Those that came with a study may say anything, whatever their stamp. Raises InnersightError where there is no study.
    """
    return written(inside) in mark_of(inside).web and fresh(inside)
