"""Annotations: what people call units, concepts and images of a study, and write about them. Nothing here loads torch.

They are one item of the index, which a further run of the study keeps. A study may come from a stranger, so what is
read is checked like what is written: plain text of bounded length.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from innersight.errors import InnersightError, nearest, printable
from innersight.storage import index
from innersight.storage.key import Key, document_path
from innersight.storage.permit import remember
from innersight.storage.stamp import ANNOTATIONS, shown, written
from innersight.storage.study_folder import StudyFolder, parsed, written_by_innersight

NAME, TAG, NOTE, ADDRESS = 60, 30, 2000, 600  # characters
TAGS, MOST = 12, 5000
FORMAT = 2
_UNIT = re.compile(r"(.+):(0|[1-9][0-9]{0,6})", re.DOTALL)  # one spelling, as pages look it up
_TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # characters that turn the direction of what follows


@dataclass(frozen=True)
class Annotation:
    """What people call a unit, a concept or an image of a study, and write about it.

    Attributes
    ----------
    address : str
        Of the unit or concept, `layer:unit`; of an image its id in the study, such as "p0".
    name : str
        At most 60 characters, shown beside the address; may be empty.
    tags : tuple of str
        At most 12 of at most 30 characters.
    note : str
        At most 2000 characters, of several lines.
    about : str
        Digest of what it was written about: of the network, of the set of concepts, of the image.

    """

    address: str
    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        if not self.address or len(self.address) > ADDRESS:
            raise InnersightError(f"an address has 1 to {ADDRESS} characters")
        _plain("name", self.name, NAME)
        _plain("note", self.note, NOTE, lines=True)
        if len(self.tags) > TAGS:
            raise InnersightError(f"{len(self.tags)} tags: at most {TAGS} can be kept")
        for tag in self.tags:
            _plain("tag", tag, TAG)
            if not tag or "," in tag:
                raise InnersightError(f"tag {printable(tag)!r}: a tag is not empty and holds no comma")

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return not (self.name or self.tags or self.note)

    def to_json(self) -> dict[str, Any]:
        """Return the annotation as plain data."""
        return {"address": self.address, "name": self.name, "tags": list(self.tags), "note": self.note}

    def holds(self, text: str) -> bool:
        """Return whether name, tags or note hold a text, whatever its case.

        Parameters
        ----------
        text
            What is looked for.

        """
        return text.casefold() in "\n".join([self.name, *self.tags, self.note]).casefold()


def _plain(what: str, text: object, limit: int, *, lines: bool = False) -> None:
    """Raise InnersightError where a text is no plain one of at most `limit` characters."""
    if not isinstance(text, str):
        raise InnersightError(f"a {what} is a text, not {printable(repr(text))}")
    if len(text) > limit:
        raise InnersightError(f"a {what} of {len(text)} characters: at most {limit} can be kept")
    for letter in text:
        allowed = lines and letter == "\n"
        if not allowed and (unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or ord(letter) in _TURNS):
            raise InnersightError(f"a {what} holds the character U+{ord(letter):04X}, which is not plain text")


def read_annotations(inside: StudyFolder) -> dict[str, Annotation]:
    """Return the annotations of a study by address. Raises InnersightError for what innersight does not write."""
    with index.reading(inside) as db:
        row = db.execute("SELECT document FROM items WHERE key = ?", (ANNOTATIONS,)).fetchone()
    return {} if row is None else annotations_of(_document(inside, ANNOTATIONS, row[0]), inside)


def annotations_of(document: Mapping[str, Any], inside: StudyFolder) -> dict[str, Annotation]:
    """Return the annotations of an item's document, checked."""
    with written_by_innersight(f"{inside.folder}, item {ANNOTATIONS!r}"):
        rows = document["annotations"]
        if not isinstance(rows, list) or len(rows) > MOST:
            raise TypeError(f"no list of at most {MOST} annotations")
        found = [_row(row) for row in rows]
        return {one.address: one for one in found}


def _row(row: Mapping[str, Any]) -> Annotation:
    try:
        return Annotation(_text(row["address"]), row["name"], _tags(row["tags"]), row["note"], _text(row["about"]))
    except InnersightError as error:
        raise ValueError(str(error)) from error


def write_annotation(inside: StudyFolder, annotation: Annotation, study: Mapping[str, Any]) -> Annotation:
    """Keep an annotation in place of an earlier one of its address, and show it; an empty one is removed.

    study : the document of that name, which knows what there is. Returns the annotation as it is kept. Raises
    InnersightError for an address that the study does not have, for one annotation too many, and on a read-only medium.
    """
    if not inside.writable:
        raise InnersightError(f"{inside.folder} is read-only: copy the study to a folder of your own to write in it")
    check_address(study, annotation.address)
    kept = Annotation(**{**vars(annotation), "about": about(inside, annotation.address)})
    known = shown(inside)
    with index.writing(inside) as db:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT document FROM items WHERE key = ?", (ANNOTATIONS,)).fetchone()
        found = {} if row is None else annotations_of(_document(inside, ANNOTATIONS, row[0]), inside)
        found.pop(kept.address, None)
        if not kept.empty:
            found[kept.address] = kept
        if len(found) > MOST:
            raise InnersightError(f"the study holds {MOST} annotations already: remove some")
        rows = [{**one.to_json(), "about": one.about} for one in found.values()]
        db.execute(index.UPSERT, (ANNOTATIONS, "{}", json.dumps({"annotations": rows}), None, 0.0))
    if inside.file("web", "documents", "study.json") is not None:
        text = json.dumps({**document_of(inside, found), "format": FORMAT}, separators=(",", ":"))
        inside.put(text.encode(), *document_path(ANNOTATIONS))
        if known:
            remember(inside, web=written(inside))
    return kept


def document_of(inside: StudyFolder, found: Mapping[str, Annotation]) -> dict[str, Any]:
    """Return what the pages are given: each with `stale`, whether it was written about another state of its subject."""
    rows = []
    states: dict[str, str] = {}
    for one in found.values():
        part = one.address.rpartition(":")[0] or one.address
        if part not in states:
            states[part] = about(inside, one.address)
        rows.append({**one.to_json(), "stale": one.about != states[part]})
    return {"annotations": rows}


def about(inside: StudyFolder, address: str) -> str:
    """Return a digest of what an address means in the study: of the network, the set of concepts, or the image."""
    unit = _UNIT.fullmatch(address)
    with index.reading(inside) as db:
        rows = dict(db.execute("SELECT key, document FROM items WHERE key IN ('model', 'images')").fetchall())
        if unit is None:
            return _image(inside, address, rows.get("images"))
        parts = [str(_document(inside, "model", rows.get("model")).get("digest"))]
        layer, _, name = unit[1].rpartition("~")
        if layer:
            found = db.execute(
                "SELECT settings FROM items WHERE key = ?", (str(Key("concepts", layer, name)),)
            ).fetchone()
            parts.append(str(found))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _image(inside: StudyFolder, name: str, text: object) -> str:
    """Return the digest of an image that the study was made of; the id of another says what it is."""
    number = re.fullmatch(r"p(\d{1,7})", name)
    if number is None:
        return name
    with written_by_innersight(f"{inside.folder}, item 'images'"):
        sources = _document(inside, "images", text)["sources"]
        return str(sources[int(number[1])]["digest"]) if int(number[1]) < len(sources) else ""


def check_address(study: Mapping[str, Any], address: str) -> None:
    """Raise InnersightError where the document `study` has no such unit, concept or image."""
    unit = _UNIT.fullmatch(address)
    images = [str(image["id"]) for image in study["images"]]
    if unit is None:
        if address not in images:
            raise InnersightError(
                f"no unit or image {address!r} in this study: write LAYER:NUMBER; {nearest(address, images)}"
            )
        return
    known = {str(layer["name"]): layer["units"] for layer in study["layers"]}
    if unit[1] not in known:
        raise InnersightError(f"no layer {unit[1]!r} in this study; {nearest(unit[1], known)}")
    if int(unit[2]) >= known[unit[1]]:
        raise InnersightError(f"no unit {unit[2]}: {unit[1]} has the units 0 to {known[unit[1]] - 1}")


def tags_of(given: Iterable[str]) -> tuple[str, ...]:
    """Return tags without blanks around them and without repetitions."""
    return tuple(dict.fromkeys(tag.strip() for tag in given if tag.strip()))


def called(address: str, found: Mapping[str, Annotation]) -> str:
    """Return an address with its name.

    >>> called("stage3:17", {"stage3:17": Annotation("stage3:17", "hair outline")})
    'stage3:17 · hair outline'
    """
    one = found.get(address)
    return f"{address} · {one.name}" if one is not None and one.name else address


def _document(inside: StudyFolder, key: str, text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise InnersightError(f"{inside.folder / index.INDEX}, item {key!r}: no document; make the study again")
    return parsed(text, f"{inside.folder / index.INDEX}, item {key!r}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _tags(values: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError("tags are a list")
    return tuple(_text(value) for value in values)
