"""Labels of units: parts or words that a dissection found them to respond to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.plain import below, interval, maybe, number, typed

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

LONGEST = 200  # characters of a label that are shown


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    units = {row["name"]: row["units"] for row in reader.layers}
    found = [(Key.parse(item.key).layer, item.document) for item in reader.items("labels")]
    return {"sets": [_set(layer, document, units[layer]) for layer, document in found if layer in units]}


def _set(layer: str, document: Mapping[str, Any], units: int) -> dict[str, Any]:
    by = typed(document["by"], str)
    if by not in ("parts", "words"):
        raise ValueError(f"labels by {by!r}")
    return {
        "layer": layer,
        "by": by,
        "definition": typed(document["definition"], str),
        "images": typed(document["images"], int),
        "rows": [
            {
                "unit": below(row["unit"], units),
                "label": typed(row["label"], str)[:LONGEST],
                "score": number(row["score"]),
                "interval": interval(row["interval"]),
                "p": maybe(row["p"], number),
            }
            for row in typed(document["rows"], list)
        ],
    }


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    if chosen.addresses is None:
        return {}
    sets = []
    for one in document["sets"]:
        units = chosen.addresses.get(one["layer"], [])
        sets.append({**one, "rows": [row for row in one["rows"] if units is None or row["unit"] in units]})
    return {"sets": [one for one in sets if one["rows"]]}


def _lost() -> Outcome:
    raise InnersightError("the labels of units are damaged: run `innersight dissect` again")


@panels.register(
    "Labels",
    order=96,
    missing="No unit was labelled. `innersight dissect MODEL FOLDER --masks MASKS --out STUDY` finds the part that "
    "each unit responds to; with --words and --clip, the word.",
    document=_document,
    select=_select,
)
def labels(context: "StudyContext") -> Iterator[StudyTask]:
    """What `innersight dissect` left here of this network, kept as it is."""
    for key, settings in context.left(lambda key: key.panel == "labels"):
        yield StudyTask(key, settings, _lost)
