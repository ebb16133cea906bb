"""An image of the scan, made one of the study: its file is read where this user named it, and kept as if sent."""

from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from innersight.errors import InnersightError, printable
from innersight.storage import index
from innersight.storage.bounded import read_bytes
from innersight.storage.permit import Permit
from innersight.study.panels.images import ImageRequest
from innersight.web import uploads


def scanned_image(permit: Permit, number: int) -> ImageRequest:
    """Return the request that adds an image of the scan. number : of the image there.

    Raises InnersightError where there is no such image, for one that is no file of its own, one that changed since it
    was scanned, and where this user has not named the images of the scan.
    """
    inside = permit.inside
    with index.reading(inside) as db:
        row = None
        if index.has(db, "scan_images"):
            query = "SELECT name, label, digest FROM scan_images WHERE number = ? AND broken IS NULL"
            row = index.typed(db.execute(query, (number,)).fetchone(), (str, str | None, str), inside)
    if row is None:
        raise InnersightError(f"the scan of this study has no image {number}")
    stored, label, digest = row
    name, where = replace(permit).scanned(stored)
    path = Path(where, name)
    if not path.is_file():
        raise InnersightError(
            f"{printable(stored)} is not a file of its own, or is gone: take it out of its archive or data set and "
            "drop it here"
        )
    data = read_bytes(path, what="image", limit=uploads.MAX_BYTES)
    if digest and blake2b(data, digest_size=16).hexdigest() != digest:
        raise InnersightError(f"{printable(stored)} changed since it was scanned: scan again")
    return uploads.keep(data, path.name, inside).model_copy(update={"label": label, "scanned": number})
