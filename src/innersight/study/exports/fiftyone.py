"""FiftyOne: a data set in its own format, which it imports; nothing of FiftyOne is needed to write it."""

import base64
import io
import json
import math
import re
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from innersight.errors import InnersightError
from innersight.storage.writing import filling, replacing, write_text
from innersight.study.content import Content
from innersight.study.exported_images import ExportedImage, ExportedImages, ImageHeatmap
from innersight.study.exports import exports
from innersight.study.imaged import Strength

FIELDS = {
    "ground_truth": "The image's own class.",
    "prediction": "The predicted class; `confidence` is its probability, `score` its logit.",
    "top_classes": "The best classes, up to five, best first.",
    "correct": "Whether the predicted class is the image's own; empty where that is not known.",
    "own_rank": "Rank of the image's own class in the scan, 1 for the best.",
    "own_probability": "Probability of the image's own class in the scan, 0 to 1.",
    "trained_on": "Whether the network was trained on the image, where its run records that.",
    "study_image": "The image's id in the study.",
    "scan_number": "The image's number in the scan.",
    "units": "The units of each ablated layer without which the score of the predicted class changes most: `change` "
    "of the score when the unit is set to zero, negative where the class depends on it; `peak` of its activation map.",
    "concepts": "The strongest concepts: `contribution` to the score of the predicted class, and `peak` of its map.",
}
HEATMAP = (
    "Raw values of the method for the score of the predicted class, not rescaled, 0 where the network does not see the "
    "image; `range` is the same on both sides of zero where values are signed."
)
KINDS = {
    "heatmap_METHOD": HEATMAP,
    "heatmap_METHOD_versus": "The same for the score of `label` minus that of `versus`.",
    "heatmap_METHOD_other": "The same for another class, `label`, than the predicted one.",
}


@exports.register("FiftyOne")
def fiftyone(content: Content, out: Path) -> tuple[str, ...]:
    """Write a data set of the images of the study and its scan, for FiftyOne's `Dataset.from_dir`.

    Raises InnersightError where no image may be shown.
    """
    samples = ExportedImages(content.reader, content.permit)
    with filling(out) as folder:
        count = 0
        with (
            replacing(folder / "samples.json") as partial,
            partial.open("w", encoding="utf-8", newline="\n") as written,
        ):
            written.write('{"samples": [')
            for one in samples:
                written.write(f"{',' if count else ''}\n{json.dumps(_document(one, folder), allow_nan=False)}")
                count += 1
            written.write("\n]}\n")
        notes = samples.notes()
        if not count:
            raise InnersightError(f"the data set would hold no image. {' '.join(notes)}")
        write_text(folder / "metadata.json", json.dumps(_metadata(content, notes), indent=1))
    return tuple(notes)


def _metadata(content: Content, notes: list[str]) -> dict[str, Any]:
    """Return the data set's card. It states no version: FiftyOne then takes the fields from the samples."""
    return {
        "media_type": "image",
        "info": {
            "description": f"What {_text(content.title)} predicts, from the study {_text(content.reader.store.folder)}",
            "made_by": f"innersight {version('innersight')}",
            "fields": {**FIELDS, **KINDS},
            "notes": [_text(note) for note in notes],
        },
    }


def _document(one: ExportedImage, folder: Path) -> dict[str, Any]:
    if one.pixels is None or one.file is not None:
        place = _text(one.file)
    else:
        # Relative: FiftyOne looks it up in the folder of the data set.
        place = f"images/{one.id}.png"
        (folder / "images").mkdir(exist_ok=True)
        PILImage.fromarray(one.pixels).save(folder / place)
    said = one.annotation
    fields: dict[str, Any] = {
        "ground_truth": None if one.truth is None else _label(one.truth),
        "prediction": None if not one.best else _class(*one.best[0]),
        "top_classes": _labels([_class(*row) for row in one.best]),
        "correct": one.correct,
        "own_rank": one.rank,
        "own_probability": one.own,
        "trained_on": one.trained,
        "study_image": one.id,
        "scan_number": one.number,
        "name": None if said is None else said.name or None,
        "note": None if said is None else said.note or None,
        "units": _labels([_strength(row, "change") for row in one.units]),
        "concepts": _labels([_strength(row, "contribution") for row in one.concepts]),
        **dict(_heatmaps(one.heatmaps)),
    }
    kinds = [*(["study"] if one.id is not None else []), *(["scan"] if one.number is not None else [])]
    tags = [*kinds, *(tag for tag in (said.tags if said else ()) if tag not in kinds)]
    return {"filepath": place, "tags": tags, **{key: value for key, value in fields.items() if value is not None}}


def _label(label: str, **further: float | str | None) -> dict[str, Any]:
    kept = {key: value for key, value in further.items() if value is not None}
    numbers = {key: value for key, value in kept.items() if isinstance(value, str) or math.isfinite(value)}
    return {"_cls": "Classification", "label": _text(label), **numbers}


def _class(label: str, score: float, probability: float | None) -> dict[str, Any]:
    return _label(label, confidence=probability, score=score)


def _strength(one: Strength, change: str) -> dict[str, Any]:
    return _label(one.label, address=_text(one.address), peak=one.peak, **{change: one.change})


def _labels(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"_cls": "Classifications", "classifications": rows} if rows else None


def _heatmaps(found: tuple[ImageHeatmap, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name of the field and heatmap; several of one kind are numbered."""
    used: dict[str, int] = {}
    for one in found:
        finite = one.values[np.isfinite(one.values)]
        if not finite.size:
            continue
        words = (re.sub(r"[^0-9a-z]+", "_", one.method.lower())[:60], one.kind)
        name = "_".join(["heatmap", *filter(None, words)])
        used[name] = used.get(name, 0) + 1
        high = float(np.abs(finite).max()) or 1.0
        further = {
            "label": one.class_, "versus": one.rival, "question": one.question, "unit": one.unit, "method": one.method,
            "doubt": one.doubt,
        }  # fmt: skip
        yield (
            name if used[name] == 1 else f"{name}_{used[name]}",
            {
                "_cls": "Heatmap",
                "map": _array(one.values),
                "range": [-high if bool((finite < 0).any()) else 0.0, high],
                **{key: _text(value) for key, value in further.items() if value},
            },
        )


def _array(values: np.ndarray) -> dict[str, Any]:
    """Return an array as FiftyOne keeps it: a compressed `.npy`, as extended JSON writes bytes."""
    with io.BytesIO() as written:
        np.save(written, values, allow_pickle=False)
        data = zlib.compress(written.getvalue())
    return {"$binary": {"base64": base64.b64encode(data).decode(), "subType": "00"}}


def _text(text: object) -> str:
    """Return text that every database takes: what stands for bytes of no letter becomes a question mark."""
    return str(text).encode(errors="replace").decode()
