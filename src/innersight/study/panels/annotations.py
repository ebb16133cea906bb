"""Names, tags and notes of units, concepts and images: written by people, kept in the study."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.annotations import annotations_of, called, document_of
from innersight.study.panel import Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    item, inside = reader.item("annotations"), reader.store.inside
    return document_of(inside, {} if item is None else annotations_of(item.document, inside))


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    def kept(address: str) -> bool:
        layer, _, unit = address.rpartition(":")
        if not layer:
            return address in chosen.images
        if chosen.addresses is None:
            return True
        units = chosen.addresses.get(layer, [])
        return units is None or int(unit) in units

    return {"annotations": [row for row in document["annotations"] if kept(row["address"])]}


def _export(reader: "StudyReader", content: "Content") -> None:
    """Name units in the labels of points; everything that was written becomes a table."""
    item, inside = reader.item("annotations"), reader.store.inside
    if item is None:
        return
    found = annotations_of(item.document, inside)
    for points in content.points.values():
        points.labels[:] = [called(label, found) for label in points.labels]
    content.notes.extend(one.to_json() for one in found.values())


@panels.register("Names and notes", order=200, document=_document, select=_select, export=_export)
def annotations(context: "StudyContext") -> Iterator[StudyTask]:
    """Nothing: people write them."""
    yield from ()
