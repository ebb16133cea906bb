"""Examples of units, from a scan in the study's folder; and what the scan counted: how often they respond, to what."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.address import Address
    from innersight.scan import Example, Scan, Tally
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

SIDE, MASK = 80, 20
TOP, LOW = 6, 3
MIDDLE = (0.75, 0.5, 0.25)
CLASSES = 12
OPENED = 96


def _cut_out(context: "StudyContext", layer: str) -> Outcome:
    """Return rows {unit, band, value, name, copies} of the highest, middle and lowest examples, and their crops.

    `band` is "top", "low", or the share of the images on which the unit's peak is as high. Tensors: `crops`
    (n, SIDE, SIDE, 3) uint8 and `masks` (n, MASK, MASK) in 0..1, see `innersight.scan.crops.Crop`. Where an image is
    gone, `why` says so and there are no crops.
    """
    import numpy as np
    import torch

    from innersight.address import Address
    from innersight.image import ImageError
    from innersight.receptive_field import receptive_fields
    from innersight.scan import load_scan
    from innersight.scan.crops import crops, reopen, resized
    from innersight.study.drawing import ranked

    model = context.model
    scan = load_scan(model, context.store.folder, context.permit)
    if scan is None or layer not in scan.layers:
        return {"rows": [], "why": "this layer was not scanned"}, {}
    again = lru_cache(OPENED)(lambda number: reopen([scan.records[number]], model, None, scan.again)[0])
    seen = receptive_fields(model, [layer])[layer]
    rows, pixels, masks = [], [], []
    try:
        for unit in ranked(context, layer)[: context.plan.units]:
            for lowest, chosen in _chosen(scan, Address(layer, unit)):
                opened = [again(example.number) for _, example in chosen]
                locations = [example.location for _, example in chosen]
                found = crops(model, layer, unit, seen, opened, locations, lowest=lowest) if chosen else []
                pixels += [resized(crop.pixels, SIDE) for crop in found]
                masks += [resized(crop.mask, MASK) for crop in found]
                rows += [_row(unit, band, example) for band, example in chosen]
    except ImageError as error:
        return {"rows": [], "why": f"an image of the scan can no longer be read ({error})"}, {}
    if not rows:
        return {"rows": [], "why": "no scanned image activates any of these units"}, {}
    return {"rows": rows, "why": None}, {
        "crops": torch.from_numpy(np.stack(pixels)),
        "masks": torch.from_numpy(np.stack(masks)),
    }


def _chosen(scan: "Scan", unit: "Address") -> "list[tuple[bool, list[tuple[str | float, Example]]]]":
    """Return (lowest, [(band, example)]) in the order of display."""
    high: list[tuple[str | float, Example]] = [("top", example) for example in scan.examples(unit, limit=TOP)]
    low: list[tuple[str | float, Example]] = [
        ("low", example) for example in scan.examples(unit, limit=LOW, lowest=True)
    ]
    # Behind a ReLU every image has the same lowest value, zero, so that their order is arbitrary.
    if len(low) > 1 and len({example.value for _, example in low}) == 1:
        low = []
    return [(False, [*high, *scan.bands(unit, MIDDLE)]), (True, low)]


def _row(unit: int, band: str | float, example: "Example") -> dict[str, Any]:
    name = "/".join(example.path.parts[-2:])
    return {"unit": unit, "band": band, "value": example.value, "name": name, "copies": example.copies}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    return {"scan": _counts(reader, row), "examples": _examples(reader, files, row["name"])}


def _examples(reader: "StudyReader", files: Path, layer: str) -> dict[str, Any] | None:
    from innersight.render.sheets import colour_sheet, value_sheet

    item = reader.item("examples", layer)
    if item is None:
        return None
    if not item.document["rows"]:
        return {"rows": [], "sheet": None, "masks": None, "why": item.document["why"]}
    tensors = item.tensors()
    return {
        "rows": item.document["rows"],
        "why": None,
        "sheet": colour_sheet(files, tensors["crops"].numpy()),
        "masks": value_sheet(files, tensors["masks"])["sheet"],
    }


def _counts(reader: "StudyReader", row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the scan counted for the units of a layer; None where it was not scanned, or by another model."""
    from innersight.scan import Tally
    from innersight.scan.ledger import Ledger
    from innersight.study.scanned import scan_settings

    settings, before = scan_settings(reader.store), Ledger(reader.store).progress()
    own = f"{row['name']}/"
    raw = {} if before is None else {k[len(own) :]: v for k, v in before.tensors.items() if k.startswith(own)}
    if settings is None or before is None or not raw or settings["model"] != reader.model.document["digest"]:
        return None
    tally = Tally(raw, before.images, tuple(row["grid"]))
    found = tally.selectivity
    return {
        "images": before.images,
        "dead": tally.dead.nonzero()[:, 0].tolist(),
        "always_active": tally.always_active.nonzero()[:, 0].tolist(),
        "active": tally.active.nan_to_num().tolist(),
        "positive": (tally.positive / raw["presence/finite"].clamp(min=1)).tolist(),
        "mean": tally.mean.tolist(),
        "highest": tally.value[:, 0].tolist(),
        "p999": tally.quantile(0.999).tolist(),
        "selectivity": None if found is None else {key: values.tolist() for key, values in found.items()},
        "classes": _classes(tally, reader.model.document["model"]["labels"]),
    }


def _classes(tally: "Tally", labels: Sequence[str]) -> list[list[list[Any]]] | None:
    """Return for each unit [label, mean peak, images] of the classes it responds to most."""
    import torch

    count, total = tally.raw["classes/count"], tally.raw["classes/total"]
    if not len(count):
        return None
    mean = (total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf)
    order = mean.topk(min(CLASSES, len(labels)), dim=0).indices
    return [
        [[labels[c], float(mean[c, u]), int(count[c, u])] for c in order[:, u].tolist() if count[c, u]]
        for u in range(tally.units)
    ]


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["examples"]
    if chosen.units is None or not found or not found["sheet"]:
        return {}
    kept = [i for i, row in enumerate(found["rows"]) if row["unit"] in chosen.units]
    if not kept:
        return {"examples": None}
    sheets = {key: chosen.cut(found[key], kept) for key in ("sheet", "masks")}
    return {"examples": {**found, **sheets, "rows": [found["rows"][i] for i in kept]}}


@panels.register(
    "Examples",
    order=94,
    missing="No data set was scanned. Run `innersight scan MODEL IMAGES --out STUDY`, then run the study again.",
    how="One pass over a data set finds the images with the highest and lowest peak activation of every unit, and some "
    "in between. A crop shows the effective receptive field at the peak; it is dark where the activation is below half "
    "of the peak.",
    layer=_layer,
    select=_select,
)
def examples(context: "StudyContext") -> Iterator[StudyTask]:
    """Examples of the best ranked units of the plan's layers that were scanned."""
    from innersight.study.scanned import scan_settings

    plan, scanned = context.plan, scan_settings(context.store)
    known = scanned["layers"] if scanned and scanned["model"] == context.base["model"] else ()
    for layer in plan.layers if plan.units else ():
        if layer in known:
            settings = {**context.base, "scan": scanned, "count": plan.units}
            yield StudyTask(Key("examples", layer), settings, partial(_cut_out, context, layer))
