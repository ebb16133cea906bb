"""Whether the network has seen such an image: how far its features are from those of the scanned images."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.plain import number, texts, typed

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

NAMED = 3  # neighbours


def novelty_task(context: "StudyContext", image: str = "") -> Iterator[StudyTask]:
    """Yield the task for the images of the study, or one that was added, where a data set was scanned."""
    from innersight.study.scanned import scan_settings

    scanned = scan_settings(context.store)
    if scanned is None or scanned["model"] != context.base["model"]:
        return
    images, settings = context.over(image)
    ids = (image,) if image else tuple(f"p{i}" for i in range(len(images)))
    make = partial(_measured, context, images, ids)
    yield StudyTask(Key("novelty", image=image), {**settings, "scan": scanned}, make, float(len(images)))


def _measured(context: "StudyContext", images: "tuple[Image, ...]", ids: tuple[str, ...]) -> Outcome:
    from innersight.scan import load_scan
    from innersight.scan.novelty import LEAST, novelties

    scan = load_scan(context.model, context.store.folder, context.permit)
    features = None if scan is None else scan.features
    if scan is None or features is None or len(features.values) < LEAST:
        return {"layer": "", "scanned": 0 if features is None else len(features.values), "rows": {}}, {}
    found = novelties(context.model, images, features)
    rows = {
        name: {
            "share": one.share,
            "novel": one.novel,
            "nearest": [Path(scan.records[n].name).name for n in one.nearest[:NAMED] if n in scan.records],
        }
        for name, one in zip(ids, found, strict=True)
        if one is not None
    }
    return {"layer": features.layer, "scanned": len(features.values), "rows": rows}, {}


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    items = reader.items("novelty", images=True)
    rows = {
        str(name): {
            "share": number(row["share"]),
            "novel": typed(row["novel"], bool),
            "nearest": texts(row["nearest"]),
        }
        for item in items
        for name, row in item.document["rows"].items()
    }
    first = items[0].document
    return {"layer": typed(first["layer"], str), "scanned": typed(first["scanned"], int), "rows": rows}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {"rows": {name: row for name, row in document["rows"].items() if name in chosen.images}}


@panels.register(
    "Novelty",
    order=96,
    missing="No data set was scanned, so nothing is claimed about whether the network has seen such images.",
    how="The fifth nearest neighbour of an image among the scanned images, by the means over locations of the last "
    "rectified layer, divided by their length (Sun et al. 2022, arXiv:2204.06507). The scanned images are measured in "
    "the same way against each other; an image is called novel where it is farther than 99% of them. With fewer than "
    "100 scanned images nothing is claimed.",
    document=_document,
    select=_select,
)
def novelty(context: "StudyContext") -> Iterator[StudyTask]:
    """How far the images of the study are from the scanned ones."""
    yield from novelty_task(context)
