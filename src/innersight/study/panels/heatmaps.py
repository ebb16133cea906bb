"""Heatmaps: how much each position counts for a class, by several methods."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.request import ClassNumber, Name, StudyRequest, check_classes, check_image

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.heatmaps.result import Heatmap, Heatmaps
    from innersight.image import Image
    from innersight.model import Model
    from innersight.storage.store import Item
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


_Key = tuple[str, str, "int | None", "int | None"]
"""Id of the image, method, class, and class it is compared with."""


class HeatmapsRequest(StudyRequest):
    """Which part of an image speaks for a class; without `target` for the class that the network predicts.

    versus : a class whose score is subtracted: why this one and not that.
    """

    kind: Literal["heatmaps"]
    image: Name
    methods: Annotated[tuple[Name, ...], Field(min_length=1, max_length=40)]
    target: ClassNumber | None = None
    versus: ClassNumber | None = None

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study has no such image or class."""
        check_image(study, self.image)
        check_classes(study, (self.target, self.versus))

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield one item for each method, in the order asked."""
        image = context.image(self.image)
        for method in dict.fromkeys(self.methods):
            classes = [f"{word}={n}" for word, n in (("class", self.target), ("versus", self.versus)) if n is not None]
            key = Key("heatmaps", part=",".join([method, *classes]), image=self.image)
            make = partial(_explained, context.model, {self.image: image}, [method], self.target, self.versus)
            yield StudyTask(key, context.settings(self.image), make)


def _light(context: "StudyContext") -> tuple[str, ...]:
    """Return the plan's methods that take no time; all of them where none does."""
    from innersight.heatmaps.cost import light

    return tuple(light(context.model, context.plan.methods)) or context.plan.methods


def _planned(context: "StudyContext") -> Outcome:
    """Return heatmaps of the class, of its runner-up, and of the one less the other, by methods that take no time."""
    from innersight.heatmaps import explain
    from innersight.heatmaps.target import RUNNER_UP

    model, images, plan = context.model, context.images, context.plan
    methods = _light(context)
    found = explain(model, images, plan.target, methods)
    entries = list(found.entries)
    if plan.rivals and len(model.labels) > 1:
        entries += explain(model, images, plan.target, methods, versus=RUNNER_UP).entries
        for image in images:
            rival = next(entry.rival for entry in reversed(entries) if entry.image == image)
            entries += explain(model, image, rival, methods).entries
    return _kept(model, {f"p{i}": image for i, image in enumerate(images)}, found, entries)


def _explained(
    model: "Model", images: "Mapping[str, Image]", methods: Sequence[str], target: int | None, versus: int | None
) -> Outcome:
    """Return heatmaps of images, by id, for one class (the predicted one when None), or one against another."""
    from innersight.heatmaps import explain

    found = explain(model, list(images.values()), target, methods, versus=versus)
    return _kept(model, images, found, found.entries)


def _kept(model: "Model", images: "Mapping[str, Image]", found: "Heatmaps", entries: "Sequence[Heatmap]") -> Outcome:
    from innersight.layers import check_layers

    index = {image: name for name, image in images.items()}
    grid = None if found.layer is None else check_layers(model, [found.layer])[0].grid
    # A mistake is explained against its runner-up in any case: each question is kept once.
    own = {(index[entry.image], entry.method, entry.target, entry.rival): entry for entry in reversed(entries)}
    kept = dict(reversed(own.items()))
    lost = _removed(model, kept)
    rows = {key: {**_row(model, key[0], entry, grid), "removal": lost.get(key)} for key, entry in kept.items()}
    tensors = {str(i): own[key].values for i, key in enumerate(rows)}
    return {"layer": found.layer, "why": found.why, "entries": list(rows.values())}, tensors


def _removed(model: "Model", kept: "Mapping[_Key, Heatmap]") -> "dict[_Key, dict[str, Any]]":
    """Return what the score loses when the part that each map holds for the most important is removed."""
    from innersight.trust.removal import removals

    found: dict[_Key, dict[str, Any]] = {}
    for question in dict.fromkeys((key[0], key[2], key[3]) for key in kept):
        shown = {
            key: entry for key, entry in kept.items() if (key[0], key[2], key[3]) == question and not entry.verdict
        }
        if not shown or question[1] is None:
            continue
        first = next(iter(shown.values()))
        judged = removals(model, first.image, [entry.values for entry in shown.values()], question[1], question[2])
        for key, lost, elsewhere in zip(shown, judged.lost, judged.elsewhere, strict=True):
            if lost is None or elsewhere is None or not all(map(math.isfinite, (judged.score, lost, elsewhere))):
                continue
            found[key] = {"score": judged.score, "lost": lost, "elsewhere": elsewhere, "unit": model.head.unit}
    return found


def _row(model: "Model", image: str, entry: "Heatmap", grid: tuple[int, int] | None) -> dict[str, Any]:
    def label(number: int | None) -> str | None:
        return None if number is None else model.labels[number]

    return {
        "image": image,
        "method": entry.method,
        "class": entry.target,
        "label": label(entry.target),
        "rival": entry.rival,
        "rival_label": label(entry.rival),
        "question": entry.question,
        "unit": entry.unit,
        "logit": entry.logit,
        "probability": entry.probability,
        "scale": {"high": entry.scale.high, "clipped": entry.scale.clipped},
        "verdict": entry.verdict,
        "doubt": entry.doubt,
        "at_layer": tuple(entry.values.shape) == grid,
    }


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    entries: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in reader.items("heatmaps", images=True):
        tensors = item.tensors()
        layer = {"name": item.document["layer"], "why": item.document["why"]}
        for i, row in enumerate(item.document["entries"]):
            key = row["image"], row["method"], row["class"], row["rival"]
            if key not in entries:
                entries[key] = _entry(row, tensors[str(i)], layer, files)
    return {
        "methods": {entry["method"]: describe(entry["method"]) for entry in entries.values()},
        "entries": list(entries.values()),
    }


def _entry(row: dict[str, Any], values: "Tensor", layer: dict[str, Any], files: Path) -> dict[str, Any]:
    from innersight.render.sheets import value_sheet

    sheet = value_sheet(files, values[None])
    return {
        "image": row["image"],
        "method": row["method"],
        "target": {
            "class": row["class"],
            "label": row["label"],
            "logit": row["logit"],
            "text": row["question"],
            "rival": row["rival"],
            "rival_label": row["rival_label"],
        },
        "layer": layer if row["at_layer"] else None,
        "sheet": sheet["sheet"],
        "lo": sheet["lo"][0],
        "hi": sheet["hi"][0],
        "scale": row["scale"],
        "unit": row["unit"],
        "grid": list(values.shape),
        "verdict": row["verdict"],
        "doubt": row["doubt"],
        "removal": row["removal"],
    }


def describe(method: str) -> dict[str, str]:
    """Return title, paper and use of a heatmap method."""
    from innersight.heatmaps.request import methods

    entry = methods.entry(method)
    return {"title": entry.title, "paper": entry.source, "when": entry.use}


def _study(reader: "StudyReader", files: Path) -> dict[str, Any]:
    from innersight.heatmaps.request import methods

    return {"methods": {name: describe(name) for name in methods if methods.entry(name).reads != "captum"}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {"entries": [entry for entry in document["entries"] if entry["image"] in chosen.images]}


def _how(reader: "StudyReader") -> str:
    item = reader.item("heatmaps")
    layer = ""
    if item:
        where, why = item.document["layer"], item.document["why"]
        layer = (
            f" There is no class activation map: {why}."
            if where is None
            else f" Class activation maps are computed at {where}, {why}."
        )
    return (
        "Raw values of each method, for the logit of the class or for its difference to the logit of the other class. "
        "They are not rescaled: the legend shows the range of the colours, and zero has the same colour "
        f"everywhere.{layer}"
    )


def _counted(item: "Item") -> int:
    return len(item.document["entries"])


@panels.register(
    "Heatmaps",
    order=70,
    requests=(HeatmapsRequest,),
    per="map",
    counted=_counted,
    missing="The study has not computed heatmaps yet. If it was stopped, run the same command again.",
    how=_how,
    document=_document,
    study=_study,
    select=_select,
)
def heatmaps(context: "StudyContext") -> Iterator[StudyTask]:
    """Heatmaps of every image by the plan's methods; those that take long explain the class alone."""
    from innersight.heatmaps.request import GRADIENT, forward_passes
    from innersight.trust.removal import passes as judging

    plan, images = context.plan, {f"p{i}": image for i, image in enumerate(context.images)}
    methods = _light(context)
    settings = {**context.base, "methods": list(methods), "target": plan.target, "rivals": plan.rivals}
    each = sum(map(forward_passes, methods)) + GRADIENT + judging(len(methods))
    questions = 3 if plan.rivals else 1
    yield StudyTask(Key("heatmaps"), settings, partial(_planned, context), float(each * questions * len(images)))
    target = None if plan.target is None else context.model.class_index(plan.target)
    for method in plan.methods:
        if method not in methods:
            settings = {**context.base, "target": plan.target}
            make = partial(_explained, context.model, images, [method], target, None)
            passes = float((forward_passes(method) + GRADIENT + judging(1)) * len(images))
            yield StudyTask(Key("heatmaps", part=method), settings, make, passes, optional=True)
