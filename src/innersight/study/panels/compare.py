"""The units of a layer compared between images."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def compare_task(context: "StudyContext", layer: str) -> StudyTask:
    """Return the task that ranks a layer's units."""
    return StudyTask(Key("compare", layer), context.about(layer), partial(_compared, context, layer), 60.0)


def _compared(context: "StudyContext", layer: str) -> Outcome:
    from innersight.compare import DEFINITION
    from innersight.compare import compare as measured

    return {"definition": DEFINITION, "rank": measured(context.model_of(layer), context.images, layer).rank()}, {}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    compared, images = reader.item("compare", row["name"]), reader.item("images")
    if compared is None or images is None:
        return {"compare": None}
    names = [f"p{i}" for i in range(len(images.document["images"]))]
    return {"compare": {"images": names, **compared.document}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["compare"]
    at = [i for i, name in enumerate(found["images"]) if name in chosen.images] if found else []
    if len(at) < 2:
        return {"compare": None}
    rows = [_of_images(row, at) for row in found["rank"]]
    kept = {**found, "images": [found["images"][i] for i in at], "rank": rows}
    if chosen.units is not None:
        kept["rank"] = [
            {**row, "position": position} for position, row in enumerate(rows, 1) if row["unit"] in chosen.units
        ]
        kept["of"] = len(rows)
    return {"compare": kept}


def _of_images(row: dict[str, Any], at: Sequence[int]) -> dict[str, Any]:
    return {**row, **{key: [row[key][i] for i in at] for key in ("strength", "sparsity")}}


@panels.register(
    "Comparison",
    order=40,
    missing="A comparison needs at least two images.",
    how="Units ranked by how strongly, how sparsely and how consistently they respond in all images; each ranking "
    "comes with the definition of the score.",
    layer=_layer,
    select=_select,
)
def compare(context: "StudyContext") -> Iterator[StudyTask]:
    """The units of the plan's layers compared, where there are several images."""
    for layer in context.gridded() if len(context.images) > 1 else ():
        yield compare_task(context, layer)
