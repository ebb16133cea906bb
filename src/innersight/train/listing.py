"""The labelled images to train on: which class each belongs to, whatever they were given as."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, printable
from innersight.image import SUFFIXES
from innersight.inputs import Given, ImageEntry, class_of, entries, label_notes, repeatable
from innersight.inputs.labels import BY_FOLDER

NEEDED = "training needs a sub-folder of images for each of two or more classes"


@dataclass(frozen=True)
class Listing:
    """Labelled images, sorted by class.

    images : as they were given. name : of all of them, for people, and so that another set has another cache. labels :
    of the classes, sorted; only those with images. files : names of the images, of a folder's files below it with `/`.
    classes : number of the label, one for each image. numbers : of the entries. stamps : what changes with their
    content. notes : what was left out, and how labels were read, for people.
    """

    images: Given
    name: str
    labels: tuple[str, ...]
    files: tuple[str, ...]
    classes: tuple[int, ...]
    numbers: tuple[int, ...]
    stamps: tuple[str, ...]
    notes: tuple[str, ...] = ()


def scan(images: Any, *, labels: Sequence[str] | None = None) -> Listing:
    """List labelled images: of a folder `FOLDER/CLASS/.../*.jpg`, of tar files and data sets those with a label.

    labels : the classes to look for (those of the training images), by the name, spelling or number of a folder or
        label, see `innersight.inputs.class_of`; all there are when not given. Others are left out with a note.
    Raises InnersightError for a folder that is missing, or without `labels` fewer than two classes.
    """
    own = repeatable(images)
    root = _root(own)
    known = _folders(root) if root is not None else ()
    notes: list[str] = []
    # Nothing of an entry is kept that may hold its image.
    found: list[tuple[str, str, int, str]] = []
    counts: Counter[tuple[str, int]] = Counter()
    folders: set[str] = set()
    loose, common = 0, 0 if labels is not None or root is not None or own.things is None else _common(entries(own))
    for entry in entries(own, labels or ()):
        text = _class(entry, common) if labels is None or entry.label is None else str(entry.label)
        if text is None:
            loose += 1
            continue
        number = 0 if labels is None else class_of(text, labels)
        counts[text, number] += 1
        if entry.folder:
            folders.add(text)
        if number >= 0:
            found.append((text, _name(entry, root), entry.number, entry.stamp() or entry.digest()))
    where = printable(root) if root is not None else "the images"
    if loose:
        notes.append(f"left out, as they lie in no folder of a class, or have no label: {loose:,}")
    if labels is None:
        names = tuple(sorted({text for text, *_ in found}))
        notes += [f"class {name} has no images and is left out" for name in known if name not in names]
        if len(names) < 2:
            raise InnersightError(f"{where}: {_too_few(names, root)}; {NEEDED}")
    else:
        names = tuple(labels)
        present = {class_of(text, names) for text, *_ in found}
        # That folders have the names of the classes is what they are for.
        notes += [note for note in label_notes(counts, folders, names) if not note.startswith(BY_FOLDER)]
        notes += [
            f"class {name} has no images in {printable(root.name) if root is not None else where}"
            for i, name in enumerate(names)
            if i not in present
        ]
        if not found:
            raise InnersightError(f"{where}: no images of the classes {', '.join(names)}")
    own_class = {text: class_of(text, names) for text, *_ in found}
    found.sort(key=lambda row: own_class[row[0]])
    return Listing(
        images=own,
        name=own.name if root is None else str(root.resolve()),
        labels=names,
        files=tuple(file for _, file, _, _ in found),
        classes=tuple(own_class[text] for text, *_ in found),
        numbers=tuple(number for _, _, number, _ in found),
        stamps=tuple(stamp for *_, stamp in found),
        notes=tuple(notes),
    )


def chosen_entries(listing: Listing) -> Iterator[tuple[int, ImageEntry]]:
    """Yield the images of a listing in the order they are given in, each with its position."""
    positions = {number: i for i, number in enumerate(listing.numbers)}
    for entry in entries(listing.images):
        if entry.number in positions:
            yield positions[entry.number], entry


def described(images: Any) -> str:
    """Return what was given as text: paths and names of data sets as they are, else its type."""
    if isinstance(images, str | Path):
        return str(images)
    if isinstance(images, list | tuple) and all(isinstance(one, str | Path) for one in images):
        return " ".join(map(str, images))
    return type(images).__name__


def _root(own: Given) -> Path | None:
    """Return the folder, where one was given that does not hold tar files only."""
    if not isinstance(own.things, list) or len(own.things) != 1 or not isinstance(own.things[0], str | Path):
        return None
    root = Path(own.things[0])
    if os.path.isdir(root):
        inside = list(root.iterdir())
        return root if any(map(os.path.isdir, inside)) or not any(p.suffix == ".tar" for p in inside) else None
    if not os.path.lexists(root):
        raise InnersightError(f"{printable(root)}: no such folder; give one with a sub-folder of images for each class")
    return None


def _folders(root: Path) -> tuple[str, ...]:
    """Return the names of the sub-folders. Refuses a folder of splits."""
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    _refuse_split_folder(root, names)
    return tuple(names)


def _class(entry: ImageEntry, common: int) -> str | None:
    """Return the folder of an image that is its class, the outermost; else the label its source gives it."""
    if entry.folder:
        return entry.inside[common] if len(entry.inside) > common else None
    return None if entry.label is None else str(entry.label)


def _common(every: Iterable[ImageEntry]) -> int:
    """Return in how many folders all images of tar files lie, such as the one that was packed."""
    first: tuple[str, ...] | None = None
    for entry in every:
        if entry.folder:
            first = entry.inside if first is None else first
            pairs = zip(first, entry.inside, strict=False)
            first = tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return len(first or ())


def _name(entry: ImageEntry, root: Path | None) -> str:
    if root is None or entry.path is None:
        return entry.name
    return entry.path.relative_to(root).as_posix()


def _too_few(names: Sequence[str], root: Path | None) -> str:
    if names:
        return f"only one class, {names[0]}"
    return "none of them has a label" if root is None else f"no sub-folders with images ({', '.join(SUFFIXES)})"


def _refuse_split_folder(root: Path, names: list[str]) -> None:
    halves = [name for name in names if name.lower() in ("train", "training", "val", "valid", "validation", "test")]
    nested = all(any(p.is_dir() for p in (root / name).iterdir()) for name in names)
    if len(names) > 1 and halves == names and nested:
        first = next((n for n in names if n.lower().startswith("train")), names[0])
        other = next((n for n in names if n.lower().startswith("val")), next(n for n in names if n != first))
        raise InnersightError(
            f"{root} is split into {', '.join(names)}, which are not classes: "
            f"train on {root / first} with {root / other} as the validation folder"
        )
