"""Where a class is seen: boxes or masks that people drew."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from innersight.boxes import Box, box_of
from innersight.errors import InnersightError, nearest, printable
from innersight.image import Image
from innersight.input_spec import InputSpec
from innersight.masks import check_size, ends_of, files_by_end, laid, not_black
from innersight.storage.bounded import read_text

CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Boxed:
    """A box, and the class of what is in it, if stated."""

    box: Box
    label: str | None = None


@dataclass(frozen=True)
class Regions:
    """Where classes are seen on images.

    covers : whether an image's file is among those that people marked. find : from an image, the network's input and
    a class label to where that class is seen, (H, W) bool; None if unknown.
    """

    covers: Callable[[Path], bool]
    find: Callable[[Image, InputSpec, str], "Tensor | None"]


def read_regions(source: str | Path) -> Regions:
    """Return the regions of images, from a CSV file of boxes or a folder of masks.

    Parameters
    ----------
    source
        A CSV file with the columns `file,x0,y0,x1,y1`, fractions of width and height, and optionally `class`: then only
        boxes of the class explained count. `file` is the end of the image's path, such as `cats/7.jpg`; an image may
        have several boxes. Or a folder with one mask for each image, of the same name and in the same subfolder, not
        black where the object is.

    Returns
    -------
    Regions
        Where each class is seen on each image.

    Raises
    ------
    InnersightError
        With the line and what to do.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from innersight.trust import read_regions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "boxes.csv"
    ...     with file.open("w") as rows:
    ...         print("file,x0,y0,x1,y1", "cats/7.jpg,0.1,0.2,0.6,0.9", sep=chr(10), file=rows)
    ...     regions = read_regions(file)
    >>> regions.covers(Path("images/cats/7.jpg")), regions.covers(Path("images/cats/8.jpg"))
    (True, False)

    """
    path = Path(source)
    if path.is_dir():
        return _masks(path)
    boxes = read_boxes(path)
    short = {name.rpartition("/")[2] for name in boxes}

    def boxes_of(file: Path) -> Sequence[Boxed]:
        return next((boxes[end] for end in ends_of(file) if end in boxes), ()) if file.name in short else ()

    def region(image: Image, spec: InputSpec, label: str) -> Tensor | None:
        own = boxes_of(image.path) if image.path else ()
        fitting = [box for box in own if box.label in (None, label)]
        if not fitting:
            return None
        found = torch.stack([_seen_box(one.box, image, spec) for one in fitting]).any(0)
        return found if found.any() else None

    return Regions(lambda file: bool(boxes_of(file)), region)


def read_boxes(path: Path) -> dict[str, list[Boxed]]:
    """Return the boxes of a CSV file by the name of the image. Raises InnersightError for what is none."""
    shown = printable(path)
    try:
        text = read_text(path, what="CSV file of boxes")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise InnersightError(f"{shown}: cannot be read as a CSV file of boxes ({printable(error)})") from error
    head = list(rows[0]) if rows else []
    missing = [name for name in ("file", *CORNERS) if name not in head]
    if missing:
        raise InnersightError(
            f"{shown}: {'no column ' + ', '.join(missing) if rows else 'no boxes'}; the first line must be "
            "file,x0,y0,x1,y1 or file,class,x0,y0,x1,y1"
        )
    found: dict[str, list[Boxed]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{shown}, line {line}"
        try:
            corners = [float(row[name]) for name in CORNERS]
        except (TypeError, ValueError) as error:
            given = ", ".join(str(row[name]) for name in CORNERS)
            raise InnersightError(f"{where}: {printable(given)} are not four numbers") from error
        if not (row["file"] or "").strip():
            raise InnersightError(f"{where}: no file named")
        box = Boxed(box_of(corners, where), row.get("class") or None)
        found.setdefault(row["file"].strip().replace("\\", "/"), []).append(box)
    return found


def check_labels(path: str | Path, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a sentence for each class of a file of boxes that the network does not know.

    Raises InnersightError where it knows none of them.
    """
    if Path(path).is_dir():
        return ()
    named = {box.label for boxes in read_boxes(Path(path)).values() for box in boxes if box.label}
    unknown = sorted(named - set(labels))
    if unknown and len(unknown) == len(named):
        raise InnersightError(
            f"{printable(path)}: none of its classes is known to the network, such as {unknown[0]!r}; "
            f"{nearest(unknown[0], labels)}"
        )
    return tuple(f"boxes of {name!r}: the network has no such class; {nearest(name, labels)}" for name in unknown)


def _seen_box(box: Box, image: Image, spec: InputSpec) -> Bool[Tensor, "H W"]:
    """Return the pixels of the network's input whose middle lies in a box."""
    seen = image.box(spec)
    x = (seen.left + (torch.arange(spec.width) + 0.5) / spec.width * seen.width) / image.width
    y = (seen.top + (torch.arange(spec.height) + 0.5) / spec.height * seen.height) / image.height
    inside: Tensor = ((y >= box.y0) & (y < box.y1))[:, None] & ((x >= box.x0) & (x < box.x1))
    return inside


def _masks(folder: Path) -> Regions:
    files = files_by_end(folder)
    if not files:
        raise InnersightError(f"{printable(folder)}: no masks in this folder; name them as the images are")

    def mask_of(file: Path) -> Path | None:
        return next((files[end] for end in ends_of(file.with_suffix("")) if end in files), None)

    def region(image: Image, spec: InputSpec, label: str) -> Tensor | None:
        del label
        file = mask_of(image.path) if image.path else None
        if file is None:
            return None
        mask = not_black(file)
        check_size(mask, (image.height, image.width), printable(file))
        found = torch.from_numpy(laid(mask, image.box(spec), (spec.height, spec.width)))
        return found if found.any() else None

    return Regions(lambda file: mask_of(file) is not None, region)
