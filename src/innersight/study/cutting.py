"""Examples of units cut out of the images of a scan: crops, the unit's map there, and the whole images."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage

from innersight.activations import compute
from innersight.address import Address
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.scan import Example, Scan, load_scan
from innersight.scan.crops import Crop, ReopenedImage, crops, reopen, reopened_image, resized
from innersight.scan.ledger import Ledger
from innersight.scan.perceptual_hash import Duplicates
from innersight.scan.record import Record
from innersight.study.context import StudyContext
from innersight.study.panel import Outcome

SIDE, MASK, WHOLE = 80, 20, 160
TOP, LOW = 6, 3
MIDDLE = (0.75, 0.5, 0.25)
OPENED = 96
OF_CLASS = 128  # images of a class, at most, among which its highest are looked for
BATCH = 16
BESIDE = 3  # examples of a unit that stand beside those of another network's
DRAWN = 128  # scanned images, at most, among which these are looked for
Band = str | float
Chosen = list[tuple[bool, list[tuple[Band, Example]]]]
"""(lowest, [(band, example)]) in the order of display."""


def cut_out(context: StudyContext, layer: str, units: Sequence[int], class_: int | None = None) -> Outcome:
    """Return rows of the highest, middle and lowest examples of units, and their crops.

    class_ : a class of the network, whose highest are returned alone.
    A row is {unit, band, value, name, copies, class, of, image, box}. `band` is "top", "low", or the share of the
    images on which the unit's peak is as high; `class` the label of the image or None; `of` the class that was asked
    for; `box` the shares of the sides (left, top, right, bottom) of the image that the crop shows. Tensors: `crops`
    (n, SIDE, SIDE, 3) uint8 and `masks` (n, MASK, MASK) in 0..1, see `innersight.scan.crops.Crop`; `wholes`, a square
    of WHOLE for each `image`, of which it fills `sizes[image]` (width, height). `why` says why there are no rows.
    Raises ImageError where an image is gone, and InnersightError where the layer was not scanned.
    """
    model = context.model
    scan = load_scan(model, context.store.folder, context.permit)
    if scan is None:
        raise InnersightError(
            "no data set was scanned with this network: run `innersight scan MODEL IMAGES --out STUDY`"
        )
    if layer not in scan.layers:
        raise InnersightError(
            f"{layer} was not scanned; scanned are {', '.join(scan.layers)}: run `innersight scan` with that layer too"
        )
    records, read = dict(scan.records), None
    chosen: list[tuple[int, Chosen]]
    again = lru_cache(OPENED)(lambda number: reopen([records[number]], model, None, scan.again)[0])
    if class_ is None:
        chosen = [(unit, _chosen(scan, Address(layer, unit))) for unit in units]
    else:
        own, total = _of_class(context, class_)
        records |= own
        read = [len(own), total]
        highest = _highest(context, scan, layer, units, own)
        chosen = [(unit, [(False, [("top", one) for one in highest[unit]])]) for unit in units]
    field = receptive_fields(model, [layer])[layer]
    rows, pixels, masks = [], [], []
    wholes: dict[int, np.ndarray] = {}
    for done, (unit, parts) in enumerate(chosen):
        context.progress(done / len(chosen))
        for lowest, examples in parts:
            opened = [again(example.number) for _, example in examples]
            locations = [example.location for _, example in examples]
            found = crops(model, layer, unit, field, opened, locations, lowest=lowest) if opened else []
            for (band, example), one, crop in zip(examples, opened, found, strict=True):
                pixels.append(resized(crop.pixels, SIDE))
                masks.append(resized(crop.mask, MASK))
                wholes.setdefault(example.number, _small(one.image))
                record = records[example.number]
                rows.append(
                    {
                        "unit": unit,
                        "band": band,
                        "value": example.value,
                        "name": "/".join(example.path.parts[-2:]),
                        "copies": example.copies,
                        "class": model.labels[record.class_] if record.class_ >= 0 else record.label,
                        "of": class_,
                        "image": list(wholes).index(example.number),
                        "box": _shares(crop, one),
                    }
                )
    about = {"units": list(units), "of": class_, "read": read, "rows": rows}
    if not rows:
        where = "no scanned image" if class_ is None else f"no scanned image of {printable(model.labels[class_])}"
        return {
            **about,
            "sizes": [],
            "why": f"{where} activates {'this unit' if len(units) == 1 else 'these units'}",
        }, {}
    sizes = [[image.shape[1], image.shape[0]] for image in wholes.values()]
    return {**about, "sizes": sizes, "why": None}, {
        "crops": torch.from_numpy(np.stack(pixels)),
        "masks": torch.from_numpy(np.stack(masks)),
        "wholes": torch.from_numpy(np.stack([_padded(image) for image in wholes.values()])),
    }


def cut_or_why(context: StudyContext, layer: str, units: Sequence[int]) -> Outcome:
    """Return the same; where an image is gone, `why` says so and there are no rows."""
    try:
        return cut_out(context, layer, units)
    except ImageError as error:
        why = f"an image of the scan can no longer be read ({error})"
        return {"units": [], "of": None, "read": None, "rows": [], "sizes": [], "why": why}, {}


def _chosen(scan: Scan, unit: Address) -> Chosen:
    high: list[tuple[Band, Example]] = [("top", example) for example in scan.examples(unit, limit=TOP)]
    low: list[tuple[Band, Example]] = [("low", example) for example in scan.examples(unit, limit=LOW, lowest=True)]
    # Behind a ReLU every image has the same lowest value, zero, so that their order is arbitrary.
    if len(low) > 1 and len({example.value for _, example in low}) == 1:
        low = []
    return [(False, [*high, *scan.bands(unit, MIDDLE)]), (True, low)]


def _of_class(context: StudyContext, class_: int) -> tuple[dict[int, Record], int]:
    """Return images of the scan of a class, drawn at random where there are many, and how many there are."""
    ledger = Ledger(context.store)
    numbers = ledger.of_class(class_)
    if not numbers:
        label = printable(context.model.labels[class_])
        raise InnersightError(f"no scanned image is labelled {label}: scan images of that class")
    drawn = np.random.default_rng(context.plan.seed).permutation(numbers)[:OF_CLASS].tolist()
    return ledger.records(sorted(drawn)), len(numbers)


def _highest(
    context: StudyContext, scan: Scan, layer: str, units: Sequence[int], records: dict[int, Record]
) -> dict[int, list[Example]]:
    """Return for each unit the images on which it peaks highest, and is positive."""
    numbers = list(records)
    value, place = _peaks(context, scan, context.model, {layer: units}, records)[layer]
    copies = Duplicates(scan.hashes).count({number: record.phash for number, record in records.items()})
    found: dict[int, list[Example]] = {}
    for i, unit in enumerate(units):
        order = value[:, i].argsort(descending=True, stable=True)[:TOP].tolist()
        found[unit] = [
            Example(
                Path(records[numbers[row]].name),
                float(value[row, i]),
                (int(place[row, i, 0]), int(place[row, i, 1])),
                numbers[row],
                copies[numbers[row]],
            )
            for row in order
            if value[row, i] > 0
        ]
    return found


def strongest(
    context: StudyContext, model: Model, units: Mapping[str, Sequence[int]]
) -> tuple[dict[str, torch.Tensor], dict[str, list[list[float]]], int]:
    """Return by layer crops of the scanned images on which units of a network peak highest, and these peaks.

    model : the study's own network, or one that it is compared with. Crops are (units, BESIDE, SIDE, SIDE, 3) uint8,
    dark where the unit is below half of its peak, and black where fewer images activate it; peaks are listed highest
    first. The third is how many images were looked at, drawn at random: the same ones for every network; 0 without a
    scan. Raises ImageError where an image is gone.
    """
    own = context.model
    scan = load_scan(own, context.store.folder, context.permit)
    if scan is None or not units:
        return {}, {}, 0
    ledger = Ledger(context.store)
    progress = ledger.progress()
    done = 0 if progress is None else progress.done
    drawn = np.random.default_rng(context.plan.seed).permutation(done)[: 2 * DRAWN].tolist()
    known = ledger.records(drawn)
    records = {number: known[number] for number in drawn if number in known and not known[number].broken}
    records = dict(list(records.items())[:DRAWN])
    tiles: dict[str, torch.Tensor] = {}
    peaks: dict[str, list[list[float]]] = {}
    for layer, (value, place) in _peaks(context, scan, model, units, records).items():
        field = receptive_fields(model, [layer])[layer]
        tiles[layer] = torch.zeros(len(units[layer]), BESIDE, SIDE, SIDE, 3, dtype=torch.uint8)
        peaks[layer] = []
        for i, unit in enumerate(units[layer]):
            order = value[:, i].argsort(descending=True, stable=True)[:BESIDE].tolist()
            rows = [row for row in order if value[row, i] > 0]
            opened = _seen_by(model, context, scan, [records[list(records)[row]] for row in rows])
            locations = [(int(place[row, i, 0]), int(place[row, i, 1])) for row in rows]
            for at, crop in enumerate(crops(model, layer, unit, field, opened, locations) if rows else ()):
                tiles[layer][i, at] = torch.from_numpy(resized(crop.masked(), SIDE).copy())
            peaks[layer].append([float(value[row, i]) for row in rows])
    return tiles, peaks, len(records)


def _peaks(
    context: StudyContext, scan: Scan, model: Model, units: Mapping[str, Sequence[int]], records: Mapping[int, Record]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return by layer the peaks (images, units) of units over images, and where they are (images, units, 2)."""
    values: dict[str, list[torch.Tensor]] = {layer: [] for layer in units}
    places: dict[str, list[torch.Tensor]] = {layer: [] for layer in units}
    several = list(records.values())
    for start in range(0, len(several), BATCH):
        context.progress(0.9 * start / len(several))
        some = _seen_by(model, context, scan, several[start : start + BATCH])
        activations = compute(model, torch.stack([one.x for one in some]), list(units))
        for layer, own in units.items():
            maps = activations[layer][:, list(own)]
            width = maps.shape[3]
            value, at = maps.flatten(2).max(2)
            values[layer].append(value)
            places[layer].append(torch.stack([at // width, at % width], 2))
    return {layer: (torch.cat(values[layer]), torch.cat(places[layer])) for layer in units}


def _seen_by(model: Model, context: StudyContext, scan: Scan, records: Sequence[Record]) -> list[ReopenedImage]:
    """Return images of the scan, read again and compared with what was scanned, as a network takes them."""
    found = reopen(records, context.model, None, scan.again)
    if model.input == context.model.input:
        return found
    return [reopened_image(scan.again(record.name).load(model.input), model.input) for record in records]


def _small(image: np.ndarray) -> np.ndarray:
    small = PILImage.fromarray(image)
    small.thumbnail((WHOLE, WHOLE), PILImage.Resampling.LANCZOS)
    return np.asarray(small)


def _padded(image: np.ndarray) -> np.ndarray:
    """Return an image in the upper left of a square; its last row and column go on, so that its border stays sharp."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, WHOLE - height), (0, WHOLE - width), (0, 0)), mode="edge")


def _shares(crop: Crop, one: ReopenedImage) -> list[float]:
    height, width = one.image.shape[:2]
    box = crop.effective
    ends = (box.left / width, box.top / height, box.right / width, box.bottom / height)
    return [round(min(1.0, max(0.0, end)), 4) for end in ends]
