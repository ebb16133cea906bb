"""How far the heatmap methods can be trusted, on the data set scanned into the study or on its images."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader
    from innersight.trust.result import Trust
    from innersight.trust.table import Compared

LIGHTEST = 4e9
"""Multiplications and additions of a map, at most, of the methods that are tested: each makes some 100 maps."""
PASSES = 43  # for each method and image, as counted with the methods of the plan on 16 images
LEAST = 10
"""With fewer images the tests of four methods cannot give any verdict; see `Trust.needed`."""


def _sources(context: "StudyContext") -> "tuple[Path, ...] | tuple[Image, ...]":
    """Return what trust is measured on: files of the scan drawn at random, or the study's images; none where few."""
    from innersight.study.scanned import scanned_files

    files = scanned_files(context.store, context.permit, context.base["model"], context.plan.trust, context.plan.seed)
    if len(files) >= LEAST:
        return files
    return tuple(context.images) if len(context.images) >= LEAST else ()


def _methods(context: "StudyContext") -> list[str]:
    """Return the plan's methods that are quick enough to be tested on many images."""
    from innersight.heatmaps.cost import light

    return light(context.model, context.plan.methods, LIGHTEST)


def _tested(context: "StudyContext", images: "Sequence[Path] | Sequence[Image]") -> Outcome:
    """Return the sentence, the note, and for each method its standing and why; see `innersight.trust`.

    Where they cannot be tested on this network or these images, the sentence says so: a study continues without.
    """
    from innersight.trust import trust as measured

    plan = context.plan
    try:
        found = measured(
            context.model,
            images,
            _methods(context),
            max_images=plan.trust,
            seed=plan.seed,
            progress=lambda done, total, _: context.progress(done / total),
        )
    except InnersightError as error:
        sentence = f"The methods could not be tested: {error}"
        return {"sentence": sentence, "note": "", "images": 0, "methods": {}, "left_out": []}, {}
    return {
        "sentence": found.sentence,
        "note": found.note,
        "images": len(found.images),
        "methods": {
            name: {"standing": found.standing(name), "why": found.verdict(name), "tests": _outcomes(found, name)}
            for name in found.methods
        },
        "left_out": list(found.left_out),
    }, {}


def _outcomes(found: "Trust", method: str) -> "list[tuple[str, Compared]]":
    """Return what a method was compared with, in words, and how each comparison came out."""
    return [(test.phrase, test.outcome(found.needed)) for test in found.comparisons if test.method == method]


def _missing(reader: "StudyReader") -> str:
    from innersight.study.scanned import scan_settings

    scanned, images = scan_settings(reader.store), reader.item("images")
    at_hand = max(scanned["done"] if scanned else 0, len(images.document["images"]) if images else 0)
    if at_hand >= LEAST and reader.plan["trust"]:
        return (
            "The heatmap methods have not been tested yet. Where no study is running, run the same `innersight study` "
            "again: it tests them."
        )
    return (
        f"The heatmap methods were not tested: that needs at least {LEAST} images. Scan a data set into the study "
        "(`innersight scan MODEL IMAGES --out STUDY`), then run the study again."
    )


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    return reader.items("trust")[0].document


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {}


def _how(reader: "StudyReader") -> str:
    item = reader.item("trust")
    return str(item.document["note"]) if item else "The heatmap methods were not tested."


@panels.register(
    "Trust in heatmaps",
    order=150,
    missing=_missing,
    how=_how,
    document=_document,
    select=_select,
)
def trust(context: "StudyContext") -> Iterator[StudyTask]:
    """The test of the plan's heatmap methods, where there are images enough."""
    from innersight.study.scanned import scan_settings

    plan = context.plan
    methods = _methods(context)
    images = _sources(context) if plan.trust and methods else ()
    if images:
        settings = {
            **context.base,
            "scan": scan_settings(context.store),
            "methods": methods,
            "max_images": plan.trust,
            "seed": plan.seed,
        }
        passes = float(PASSES * len(methods) * min(plan.trust, len(images)))
        yield StudyTask(Key("trust"), settings, partial(_tested, context, images), passes)
