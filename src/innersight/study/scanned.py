"""What a scan in the study's folder says about units: their examples as crops, how often they are on, their classes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from innersight.address import Address
from innersight.image import ImageError
from innersight.receptive_field import receptive_fields
from innersight.render.sheets import colour_sheet, value_sheet
from innersight.scan import Example, Scan, Tally, stored
from innersight.scan.crops import crops, reopen
from innersight.scan.engine import FORMAT
from innersight.scan.ledger import Ledger
from innersight.storage.store import Item, Store
from innersight.study.ask import Scene

SIDE, MASK = 80, 20
TOP, LOW = 6, 3
MIDDLE = (0.75, 0.5, 0.25)
CLASSES = 12
OPENED = 96


def scan_settings(store: Store) -> dict[str, Any] | None:
    """Return what tells one scan in the study's folder from another; None where there is none."""
    ledger = Ledger(store)
    settings, before = ledger.settings(), ledger.progress()
    if settings is None or before is None or settings.get("format") != FORMAT:
        return None
    return {**settings, "done": before.done}


def examples(scene: Scene, layer: str, units: Sequence[int]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return rows {unit, band, value, name, copies} of the highest, middle and lowest examples, and their crops.

    `band` is "top", "low", or the share of the images on which the unit's peak is as high. Tensors: `crops`
    (n, SIDE, SIDE, 3) uint8 and `masks` (n, MASK, MASK) in 0..1, see `innersight.scan.crops.Crop`. Where an image is
    gone, `why` says so and there are no crops.
    """
    model = scene.model
    scan = stored(model, scene.store.folder, scene.permit)
    if scan is None or layer not in scan.layers:
        return {"rows": [], "why": "this layer was not scanned"}, {}
    again = lru_cache(OPENED)(lambda number: reopen([scan.records[number]], model, None, scan.again)[0])
    seen = receptive_fields(model, [layer])[layer]
    rows, pixels, masks = [], [], []
    try:
        for unit in units:
            for lowest, chosen in _chosen(scan, Address(layer, unit)):
                opened = [again(example.number) for _, example in chosen]
                places = [example.place for _, example in chosen]
                found = crops(model, layer, unit, seen, opened, places, lowest=lowest) if chosen else []
                pixels += [_resized(crop.pixels, SIDE) for crop in found]
                masks += [_resized(crop.mask, MASK) for crop in found]
                rows += [_row(unit, band, example) for band, example in chosen]
    except ImageError as error:
        return {"rows": [], "why": f"an image of the scan cannot be read any more ({error})"}, {}
    if not rows:
        return {"rows": [], "why": "no unit of this layer is excited by any image of the scan"}, {}
    return {"rows": rows, "why": None}, {
        "crops": torch.from_numpy(np.stack(pixels)),
        "masks": torch.from_numpy(np.stack(masks)),
    }


def examples_document(item: Item, files: Path) -> dict[str, Any]:
    """Return the examples as the front end is given them."""
    if not item.document["rows"]:
        return {"rows": [], "sheet": None, "masks": None, "why": item.document["why"]}
    tensors = item.tensors()
    return {
        "rows": item.document["rows"],
        "why": None,
        "sheet": colour_sheet(files, tensors["crops"].numpy()),
        "masks": value_sheet(files, tensors["masks"])["sheet"],
    }


def scan_document(store: Store, row: Mapping[str, Any], card: Item) -> dict[str, Any] | None:
    """Return what the scan counted for the units of a layer; None where it was not scanned, or by another model."""
    settings, before = scan_settings(store), Ledger(store).progress()
    own = f"{row['name']}/"
    raw = {} if before is None else {k[len(own) :]: v for k, v in before.tensors.items() if k.startswith(own)}
    if settings is None or before is None or not raw or settings["model"] != card.document["digest"]:
        return None
    tally = Tally(raw, before.images, tuple(row["grid"]))
    return {
        "images": before.images,
        "dead": tally.dead.nonzero()[:, 0].tolist(),
        "always_on": tally.always_on.nonzero()[:, 0].tolist(),
        "on": tally.on.nan_to_num().tolist(),
        "positive": (tally.positive / raw["presence/finite"].clamp(min=1)).tolist(),
        "mean": tally.mean.tolist(),
        "highest": tally.value[:, 0].tolist(),
        "usual": tally.quantile(0.999).tolist(),
        "selectivity": _selectivity(tally),
        "classes": _classes(tally, card.document["model"]["labels"]),
    }


def _chosen(scan: Scan, unit: Address) -> list[tuple[bool, list[tuple[str | float, Example]]]]:
    """Return (lowest, [(band, example)]) in the order of display."""
    high: list[tuple[str | float, Example]] = [("top", example) for example in scan.examples(unit, count=TOP)]
    low: list[tuple[str | float, Example]] = [
        ("low", example) for example in scan.examples(unit, count=LOW, lowest=True)
    ]
    # Behind a ReLU every image has the same lowest place, zero: which come first says nothing.
    if len(low) > 1 and len({example.value for _, example in low}) == 1:
        low = []
    return [(False, [*high, *scan.bands(unit, MIDDLE)]), (True, low)]


def _row(unit: int, band: str | float, example: Example) -> dict[str, Any]:
    name = "/".join(example.path.parts[-2:])
    return {"unit": unit, "band": band, "value": example.value, "name": name, "copies": example.copies}


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(PILImage.fromarray(pixels).resize((side, side), PILImage.Resampling.BILINEAR))


def _selectivity(tally: Tally) -> dict[str, list[float]] | None:
    found = tally.selectivity
    return None if found is None else {key: values.tolist() for key, values in found.items()}


def _classes(tally: Tally, labels: Sequence[str]) -> list[list[list[Any]]] | None:
    """Return for each unit [label, mean peak, images] of the classes that excite it most."""
    count, total = tally.raw["classes/count"], tally.raw["classes/total"]
    if not len(count):
        return None
    mean = (total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf)
    order = mean.topk(min(CLASSES, len(labels)), dim=0).indices
    return [
        [[labels[c], float(mean[c, u]), int(count[c, u])] for c in order[:, u].tolist() if count[c, u]]
        for u in range(tally.units)
    ]
