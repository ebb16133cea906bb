"""Labels: which class of the network an image's label or folder stands for, and how that was read, in words."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath

from innersight.errors import nearest, printable

Label = str | int | None
SHOWN = 3
BY_FOLDER = "labels are folder names"  # how the note begins that says so


def class_of(label: Label, labels: Sequence[str]) -> int:
    """Return the number of the class that a label names.

    Parameters
    ----------
    label
        The name of a class, a name that differs from it in case, spaces, `_` and `-` only, or its number.
    labels
        The network's classes.

    Returns
    -------
    int
        From 0; -1 for a label that names no class, and for None.

    Examples
    --------
    >>> from innersight.inputs import class_of
    >>> [class_of(label, ("ash_tree", "birch")) for label in ("birch", "Ash Tree", 1, "1", 2, "oak", None)]
    [1, 0, 1, 1, -1, -1, -1]

    """
    if isinstance(label, str):
        own = _named(label, tuple(labels))
        if own >= 0:
            return own
    number = int(label) if isinstance(label, int) or (isinstance(label, str) and _digits(label)) else -1
    return number if 0 <= number < len(labels) else -1


def folder_label(inside: Sequence[str], outside: Sequence[str], labels: Sequence[str]) -> str | None:
    """Return which of the folders that an image lies in is its label.

    inside : those below what was named, the nearest first. outside : that itself and those above it, which are labels
    only where they are named like a class.

    It is the nearest one that is named like a class, else the nearest of `inside` that is the number of one, else the
    nearest of `inside`.

    >>> folder_label(["2", "ash"], ["train"], ("ash", "birch", "cedar"))
    'ash'
    """
    known = tuple(labels)
    for folder in (*inside, *outside):
        if _named(folder, known) >= 0:
            return folder
    for folder in inside:
        if class_of(folder, known) >= 0:
            return folder
    return inside[0] if inside else None


def label_of_path(path: str | Path, named: str | Path, labels: Sequence[str]) -> str | None:
    """Return the label of a file by its folders; named : the folder that was given, or the file itself."""
    own, root = Path(os.path.abspath(path)), Path(os.path.abspath(named))
    if own == root:
        # Of a file given by itself its folder and the one above it, as links have them and as they are.
        return folder_label((), [*own.parts[1:-1][::-1][:2], _real(str(own.parent))], labels)
    return folder_label(folders_below(path, named)[::-1], [root.name, _real(str(root))], labels)


@lru_cache(64)
def _real(folder: str) -> str:
    """Return the name of a folder, of a link that of what it leads to."""
    try:
        return os.path.basename(os.path.realpath(folder))
    except (OSError, ValueError):  # of a name that no folder can have
        return ""


def folders_below(path: str | Path, named: str | Path) -> tuple[str, ...]:
    """Return the folders that a file lies in below the one that was named, the outermost first."""
    try:
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(named)).parts[:-1]
    except ValueError:
        return ()


def folders_in_archive(name: str) -> tuple[str, ...]:
    """Return the folders that a file lies in inside of an archive, the outermost first."""
    return tuple(part for part in PurePath(name).parts[:-1] if part not in (".", "/"))


def label_notes(
    counts: Mapping[tuple[str, int], int], folders: Collection[str], labels: Sequence[str]
) -> Iterator[str]:
    """Yield in words how labels were read.

    Parameters
    ----------
    counts
        Images by label and number of the class, -1 for none.
    folders
        Those of the labels that are names of folders.
    labels
        The network's classes.

    Returns
    -------
    Iterator of str
        Sentences, without a full stop.

    Examples
    --------
    >>> from innersight.inputs import label_notes
    >>> list(label_notes({("Ash", 0): 3}, {"Ash"}, ("ash", "birch")))
    ['folders are matched to classes in spite of another spelling: Ash is ash']

    """
    strange = {label: count for (label, number), count in counts.items() if number < 0}
    if strange:
        none = "" if len(counts) > len(strange) else "; no image has a label that is a class"
        total = sum(strange.values())
        in_folders = ("lie in folders named", "lies in a folder named")
        where = (in_folders if set(strange) <= set(folders) else ("are labelled", "is labelled"))[total == 1]
        known = "is not a class" if len(strange) == 1 else "are not classes"
        yield (
            f"{total:,} image{'s' * (total != 1)} {where} {_few(list(strange))}, which {known} of the network, and "
            f"{'is' if total == 1 else 'are'} treated as unlabelled{none}; {nearest(next(iter(strange)), labels)}"
        )
    read: dict[str, dict[str, int]] = {"name": {}, "spelling": {}, "number": {}}
    for label, number in counts:
        if number >= 0 and label in folders:
            read[_way(label, number, labels)][label] = number
    if read["number"]:
        pairs = [f"{label} is {_shown(labels[number])}" for label, number in _ordered(read["number"])]
        yield f"folders are read as class numbers, counted from 0: {_few(pairs)}"
    if read["spelling"]:
        pairs = [f"{label} is {labels[number]}" for label, number in read["spelling"].items()]
        yield f"folders are matched to classes in spite of another spelling: {_few(pairs)}"
    if read["name"]:
        total = sum(count for (label, _), count in counts.items() if label in read["name"])
        yield f"{BY_FOLDER}: {total:,} image{'s' * (total != 1)}, {_few(list(read['name']))}"


def _way(label: str, number: int, labels: Sequence[str]) -> str:
    # Where nobody stated names the classes are named by their numbers.
    if label.isdecimal() and (labels[number] != label or all(map(_digits, labels))):
        return "number"
    return "name" if label == labels[number] else "spelling"


def _ordered(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda pair: pair[1])


def _shown(label: str) -> str:
    return f"class {label}" if _digits(label) else label


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(printable, names[:SHOWN])) + more


def _named(text: str, labels: tuple[str, ...]) -> int:
    exact, spelled = _lookup(labels)
    return exact.get(text, spelled.get(_plain(text), -1))


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.replace("_", " ").replace("-", " ").split())


@lru_cache(16)
def _lookup(labels: tuple[str, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each class by its name, and by its plain spelling where that is no other class's too."""
    plain = Counter(map(_plain, labels))
    exact = {label: number for number, label in reversed(list(enumerate(labels)))}
    return exact, {_plain(label): number for label, number in exact.items() if plain[_plain(label)] == 1}
