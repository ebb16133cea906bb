"""The units of a layer compared between images."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


MOST = 12
"""Images whose pairs are shown, so that fewer of them can be compared on the page."""


def compare_task(context: "StudyContext", layer: str) -> StudyTask:
    """Return the task that ranks a layer's units."""
    return StudyTask(Key("compare", layer), context.about(layer), partial(_compared, context, layer), 60.0)


def _compared(context: "StudyContext", layer: str) -> Outcome:
    from innersight.compare import DEFINITION
    from innersight.compare import compare as measured

    found = measured(context.model_of(layer), context.images, layer)
    return {"definition": DEFINITION, "rank": found.rank()}, {"pairs": found.pairs}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    compared, images = reader.item("compare", row["name"]), reader.item("images")
    if compared is None or images is None:
        return {"compare": None}
    names = [f"p{i}" for i in range(len(images.document["images"]))]
    rank = compared.document["rank"]
    if 2 < len(names) <= MOST:
        pairs = compared.tensors()["pairs"]
        rank = [{**row, "pairs": [round(one, 4) for one in pairs[row["unit"]].tolist()]} for row in rank]
    return {"compare": {"images": names, **compared.document, "rank": rank}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["compare"]
    at = [i for i, name in enumerate(found["images"]) if name in chosen.images] if found else []
    if len(at) < 2:
        return {"compare": None}
    among = [n for n, pair in enumerate(combinations(range(len(found["images"])), 2)) if set(pair) <= set(at)]
    rows = [_of_images(row, at, among) for row in found["rank"]]
    kept = {**found, "images": [found["images"][i] for i in at], "rank": rows}
    if chosen.units is not None:
        kept["rank"] = [
            {**row, "position": position} for position, row in enumerate(rows, 1) if row["unit"] in chosen.units
        ]
        kept["of"] = len(rows)
    return {"compare": kept}


def _of_images(row: dict[str, Any], at: Sequence[int], among: Sequence[int]) -> dict[str, Any]:
    """Return a row of some images. among : the places of their pairs."""
    pairs = {"pairs": [row["pairs"][n] for n in among]} if "pairs" in row else {}
    return {**row, **{key: [row[key][i] for i in at] for key in ("strength", "sparsity")}, **pairs}


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
