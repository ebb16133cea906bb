"""What the network gets wrong in the scanned data set: confusions, calibration, and what mistakes have in common."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.plain import below, interval, maybe, number, typed

if TYPE_CHECKING:
    from innersight.scan import PredictedImage, Scan
    from innersight.scan.crops import ReopenedImage
    from innersight.study.context import StudyContext
    from innersight.study.mistakes import Chosen
    from innersight.study.reader import StudyReader

SIDE = 96
BATCH = 16
PAIRS = 20_000
"""Confusions that are shown, the most frequent; the counts of classes are of all."""
KINDS = ("concept", "unit", "property")
MISSING = (
    "No data set was scanned. Run `innersight scan MODEL FOLDER --out STUDY` with images in folders named like the "
    "classes, then run the study again."
)


def _looked_at(context: "StudyContext", address: str) -> Outcome:
    """Return what the scan predicts, and of the images chosen what is predicted and measured.

    Tensors: `thumbs` (n, SIDE, SIDE, 3) uint8 and `strength` (n, concepts): the peak of each concept of `address`.
    """
    import numpy as np
    import torch

    from innersight.audit.measures import COLUMNS
    from innersight.scan import load_scan
    from innersight.study.mistakes import chosen, differences

    scan = load_scan(context.model, context.store.folder, context.permit)
    found = None if scan is None else scan.predictions
    if scan is None or found is None:
        return {"why": f"{context.model.name} gives no class scores, so the scan has no predictions."}, {}
    wanted = chosen(found)
    images, opened, lost = _opened(context, scan, wanted)
    measured = _measured(context, address, opened)
    classes = np.array([one.class_ for one in images], dtype=np.int64)
    predicted = np.array([one.predicted for one in images], dtype=np.int64)
    drawn = np.array([one.number in wanted.controls or one.correct is False for one in images], dtype=bool)
    columns = {kind: measured[kind].numpy() for kind in KINDS if len(images) and measured[kind].shape[1]}
    document = {
        "why": None,
        "summary": {key: value for key, value in found.summary().items() if key not in ("classes", "confusions")},
        "bins": [[one.images, one.correct, one.confidence] for one in found.calibration()],
        "pairs": [list(row) for row in found.pairs()],
        "predicted": [list(row) for row in found.predicted_counts().items()],
        "layer": measured["layer"],
        "set": address or None,
        "properties": list(COLUMNS),
        "images": [_row(one) for one in images],
        "lost": [len(lost), lost[0] if lost else None],
        "differences": differences(columns, classes, predicted, drawn) if columns else [],
    }
    thumbs = np.stack([_thumb(one) for one in opened]) if opened else np.zeros((0, SIDE, SIDE, 3), np.uint8)
    return document, {"thumbs": torch.from_numpy(thumbs), "strength": measured["concept"]}


def _opened(
    context: "StudyContext", scan: "Scan", wanted: "Chosen"
) -> "tuple[list[PredictedImage], list[ReopenedImage], list[str]]":
    """Return the images that can be read again, as they are read, and a sentence for each other one."""
    from innersight.image import ImageError
    from innersight.scan.crops import reopen
    from innersight.scan.ledger import Ledger

    records = Ledger(context.store).records([one.number for one in wanted.images])
    images, opened, lost = [], [], []
    for one in wanted.images:
        try:
            opened += reopen([records[one.number]], scan.model, scan.dataset, scan.again)
        except ImageError as error:
            lost.append(str(error))
        else:
            images.append(one)
    return images, opened, lost


def _measured(context: "StudyContext", address: str, opened: "Sequence[ReopenedImage]") -> dict[str, Any]:
    """Return for every image {unit, concept, property}: (n, ..) float32 each, and the layer of the units.

    Units by the mean over the locations of the last rectified layer, concepts by the peak of their maps.
    """
    import torch

    from innersight import tap
    from innersight.audit.measures import blocks, measure
    from innersight.layers import has_grid, last_rectified

    model = context.model_of(address)
    layer = last_rectified(context.model) if has_grid(context.model) else None
    parts: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
    readers: dict[str, Any] = {}
    if layer is not None:
        readers[layer] = lambda maps: parts["unit"].append(maps.float().mean((2, 3)).cpu())
    if address:
        readers[address] = lambda maps: parts["concept"].append(maps.float().amax((2, 3)).cpu())
    for start in range(0, len(opened), BATCH):
        some = opened[start : start + BATCH]
        x = torch.stack([one.x for one in some])
        whole = [torch.from_numpy(one.image.copy()).permute(2, 0, 1)[None].float() / 255 for one in some]
        files = [
            [float(blocks(one)[0]), (one.shape[2] * one.shape[3]) ** 0.5, one.shape[3] / one.shape[2]] for one in whole
        ]
        seen = model.input.denormalise(x.float()).clamp(0, 1)
        parts["property"].append(measure(seen, torch.tensor(files)))
        if readers:
            with tap.untouched(model), torch.no_grad():
                tap.read(model, x.to(model.device, model.dtype), readers)
        context.progress(min(1.0, (start + BATCH) / len(opened)))
    none = torch.zeros(len(opened), 0)
    # What is not finite ranks nowhere.
    found = {kind: torch.cat(some).nan_to_num(0, 0, 0) if some else none for kind, some in parts.items()}
    return {**found, "layer": layer}


def _thumb(one: "ReopenedImage") -> Any:
    """Return what the network sees of an image, as a square."""
    from innersight.scan.crops import resized

    box = one.box
    top, left = max(0, int(box.top)), max(0, int(box.left))
    part = one.image[top : max(top + 1, round(box.bottom)), left : max(left + 1, round(box.right))]
    return resized(part, SIDE)


def _row(one: "PredictedImage") -> dict[str, Any]:
    best = zip(one.scores.classes, one.scores.scores, one.scores.probabilities or [None] * 5, strict=False)
    return {
        "number": one.number,
        "name": one.name,
        "class": one.class_,
        "best": [list(row) for row in best],
        "own": one.scores.own,
        "rank": one.scores.rank,
        "trained": one.trained,
    }


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    import torch

    from innersight.render.sheets import colour_sheet

    item = reader.items("errors")[0]
    found, tensors = item.document, item.tensors()
    why = maybe(found["why"], lambda text: typed(text, str))
    if why is not None:
        return {"why": why}
    labels = len(typed(reader.model.document["model"]["labels"], list))
    thumbs, strength = tensors["thumbs"], tensors["strength"]
    rows = [_image(row, labels) for row in typed(found["images"], list)]
    if thumbs.dtype != torch.uint8 or thumbs.shape[1:] != (SIDE, SIDE, 3) or len(thumbs) != len(rows):
        raise ValueError(f"{len(rows)} images, thumbnails {tuple(thumbs.shape)}")
    if not strength.is_floating_point() or strength.ndim != 2 or len(strength) != len(rows):
        raise ValueError(f"{len(rows)} images, strengths {tuple(strength.shape)}")
    pairs = [[below(row[0], labels), below(row[1], labels), typed(row[2], int)] for row in found["pairs"]]
    sizes = {"unit": 1 << 20, "concept": strength.shape[1], "property": len(typed(found["properties"], list))}
    return {
        "why": None,
        "summary": _summary(found["summary"]),
        "bins": [[*(typed(one, int) for one in row[:2]), number(row[2])] for row in found["bins"]],
        "pairs": pairs[:PAIRS],
        "rest": sum(row[2] for row in pairs[PAIRS:]),
        "classes": _counts(pairs),
        "predicted": [[below(row[0], labels), typed(row[1], int)] for row in found["predicted"]],
        "layer": maybe(found["layer"], lambda text: typed(text, str)),
        "set": maybe(found["set"], lambda text: typed(text, str)),
        "properties": [typed(one, str) for one in found["properties"]],
        "images": rows,
        "lost": [typed(found["lost"][0], int), maybe(found["lost"][1], lambda text: typed(text, str))],
        "differences": [_difference(row, labels, sizes) for row in found["differences"]],
        "sheet": colour_sheet(files, thumbs.numpy()) if rows else None,
        # Three digits are as much as a filter needs.
        "strength": [[float(f"{value:.3g}") for value in row] for row in strength.tolist()],
    }


def _counts(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return [class, images, images predicted as it, right ones] of every class that has any."""
    found: dict[int, list[int]] = {}
    for true, predicted, images in pairs:
        own, other = (found.setdefault(one, [one, 0, 0, 0]) for one in (true, predicted))
        own[1] += images
        other[2] += images
        own[3] += images * (true == predicted)
    return [found[one] for one in sorted(found)]


def _summary(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: typed(found[key], int) for key in ("images", "labelled", "not_finite")},
        "trained_on": maybe(found["trained_on"], lambda value: typed(value, int)),
        "accuracy": maybe(found["accuracy"], number),
        "interval": interval(found["interval"]),
        "calibration_error": maybe(found["calibration_error"], number),
    }


def _image(row: Mapping[str, Any], labels: int) -> dict[str, Any]:
    if not typed(row["best"], list):
        raise ValueError("an image is predicted as nothing")
    return {
        "number": typed(row["number"], int),
        "name": typed(row["name"], str),
        "class": below(typed(row["class"], int) + 1, labels + 1) - 1,
        "best": [[below(one[0], labels), number(one[1]), maybe(one[2], number)] for one in row["best"]],
        "own": maybe(row["own"], number),
        "rank": maybe(row["rank"], lambda value: typed(value, int)),
        "trained": maybe(row["trained"], lambda value: typed(value, bool)),
    }


def _difference(row: Mapping[str, Any], labels: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    return {
        **{key: maybe(row[key], lambda value: below(value, labels)) for key in ("class", "predicted")},
        **{key: typed(row[key], int) for key in ("wrong", "right", "tested")},
        "rows": [
            {
                "kind": typed(one["kind"], str),
                "number": below(one["number"], sizes[one["kind"]]),
                **{key: number(one[key]) for key in ("effect", "p", "wrong", "right")},
            }
            for one in typed(row["rows"], list)
        ],
    }


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any] | None:
    """Leave them out: they are about all images of a data set."""
    return None


def _how(reader: "StudyReader") -> str:
    item = reader.item("errors")
    if item is None or item.document["why"] is not None:
        return "No data set was scanned."
    tests = len(typed(item.document["differences"], list))
    return (
        "Every image of the scan counts in accuracy, confusions and calibration. Up to 400 are looked at one by one: "
        "the surest mistakes of every confusion in turn, right images of the same classes drawn at random, the surest "
        "right ones, and some of no known class. Mistakes and random right ones are compared within a class by ranks "
        "(van Elteren 1960): units by their mean over the locations of the last rectified layer, concepts by their "
        "peak, and measures of the image. "
        f"p counts everything that was tried over {tests:,} groups of mistakes (Holm 1979)."
    )


@panels.register(
    "Errors",
    order=97,
    missing=MISSING,
    how=_how,
    document=_document,
    select=_select,
)
def errors(context: "StudyContext") -> Iterator[StudyTask]:
    """What the network predicts for the scanned data set, and a look at its mistakes."""
    from innersight.layers import has_grid, last_rectified
    from innersight.study.concept_sets import key_of
    from innersight.study.scanned import scan_settings

    scanned = scan_settings(context.store)
    if scanned is None or scanned["model"] != context.base["model"]:
        return
    layer = last_rectified(context.model) if has_grid(context.model) else ""
    address = next((one for one in context.sets if key_of(one).layer == layer), "")
    yield StudyTask(
        Key("errors"),
        {**context.about(address), "scan": scanned},
        partial(_looked_at, context, address),
        400.0,
        "the mistakes of the scan",
        optional=True,
        needs=key_of(address) if address else None,
    )
