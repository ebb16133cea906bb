"""Concepts: what the images share in a layer, a card for each, and the study's images as concepts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels
from innersight.study.panels.activations import maps_task
from innersight.study.panels.patterns import drawn
from innersight.study.plain import below, interval, maybe, number, texts, typed

if TYPE_CHECKING:
    from torch import Tensor

    from innersight.storage.store import Item
    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

CHUNK = 8
DRAWN = 8
"""Concepts of the study's own set that are drawn; of one that somebody asked for, all."""
MOST = 4096
STAGES = ("sampling", "factorizing", "finding examples", "measuring effects", "testing stability")
# Passes of one image for each that the study's own set is found over, as counted for 16 concepts.
PASSES = 60.0


def _found(context: "StudyContext", address: str) -> Outcome:
    """Find the study's own set."""
    from innersight.concepts import concepts as find
    from innersight.concepts.keep import packed
    from innersight.study.concept_sets import NAME, images_of, key_of

    about = context.sets[address]["default"]
    done = [0.0]

    def report(count: int, total: int, stage: str) -> None:
        start = STAGES.index(stage) if stage in STAGES else 0
        done[0] = max(done[0], (start + (count / total if total else 0.0)) / len(STAGES))
        context.progress(min(1.0, done[0]))

    found = find(
        context.model,
        list(images_of(context)),
        key_of(address).layer,
        by=NAME,
        count=about["count"],
        seed=about["seed"],
        progress=report,
    )
    _, document, tensors = packed(found)
    return {**document, "own": about["scan"] is None}, tensors


def _lost() -> Outcome:
    raise InnersightError("the concepts are damaged: run `innersight concepts` again")


def _kept_order(context: "StudyContext", key: Key) -> list[int]:
    """Return the concepts of a set in the study, those that contribute most first."""
    from innersight.storage.study_folder import written_by_innersight

    item = context.store.get(str(key))
    with written_by_innersight(f"{context.store.folder}, item {str(key)!r}"):
        return [] if item is None else _order(item.document)


def _ranked(context: "StudyContext", address: str, start: int) -> Outcome:
    """Draw the patterns of the concepts at some ranks of the set's order."""
    from innersight.study.concept_sets import key_of

    return drawn(context, address, _kept_order(context, key_of(address))[start : start + CHUNK])


def _contributed(context: "StudyContext", address: str, image: str) -> Outcome:
    """Return rows {id, class, score, rest, missing, values}: what concepts add to the class of each image."""
    from innersight.concepts.images import contributions

    images, _ = context.over(image)
    names = [image] if image else [f"p{i}" for i in range(len(images))]
    found = contributions(context.model_of(address), images, address)
    return {
        "images": [
            {
                "id": name,
                "class": int(found.classes[i]),
                "score": float(found.score[i]),
                "rest": float(found.rest[i]),
                "missing": float(found.missing[i]),
                "values": found.values[i].tolist(),
            }
            for i, name in enumerate(names)
        ]
    }, {}


def image_tasks(context: "StudyContext", address: str, image: str = "") -> Iterator[StudyTask]:
    """Yield maps of a set over the images of the study, or one that was added, and what it adds to their classes."""
    from innersight.study.concept_sets import key_of

    key, (images, settings) = key_of(address), context.over(image, address)
    yield replace(maps_task(context, address, image), optional=True, needs=key)
    own = replace(key, part=f"{key.part}/images", image=image)
    make = partial(_contributed, context, address, image)
    yield StudyTask(own, settings, make, 6.0 * len(images), optional=True, needs=key)


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    return {"sets": [_set(reader, item, files) for item in _sets(reader)]}


def _sets(reader: "StudyReader") -> "list[Item]":
    from innersight.concepts.keep import is_set

    return [item for key, item in reader.all.items() if is_set(key)]


def _set(reader: "StudyReader", item: "Item", files: Path) -> dict[str, Any]:
    key, found = Key.parse(item.key), item.document
    labels = [str(label) for label in reader.model.document["model"]["labels"]]
    units = next((row["units"] for row in reader.model.document["layers"] if row["name"] == key.layer), MOST)
    order = _order(found)
    return {
        "address": f"{key.layer}~{key.part}",
        "layer": key.layer,
        "name": key.part,
        **{name: typed(found[name], str) for name in ("kind", "title", "unit", "definition")},
        **{name: typed(found[name], int) for name in ("images", "vectors", "measured")},
        **{name: maybe(found[name], number) for name in ("covered", "variance", "seeds", "halves")},
        "own": typed(found.get("own", False), bool),
        "notes": texts(found["notes"]),
        "skipped": texts(found["skipped"]),
        "order": order,
        "concepts": [_card(row, i, units, labels) for i, row in enumerate(found["concepts"])],
        "examples": _examples(found["examples"], item.tensors(), len(order), files),
        "shown": _as_concepts(reader, key, len(order), labels),
    }


def _order(found: Mapping[str, Any]) -> list[int]:
    """Return the concepts of a set, those that contribute most first."""
    count = len(typed(found["concepts"], list))
    order = [below(one, count) for one in typed(found["order"], list)]
    if count > MOST or sorted(order) != list(range(count)):
        raise ValueError(f"{len(order)} concepts in order, of {count}")
    return order


def _card(row: Mapping[str, Any], at: int, units: int, labels: Sequence[str]) -> dict[str, Any]:
    if typed(row["concept"], int) != at:
        raise ValueError(f"concept {row['concept']} stands where {at} should")
    return {
        "label": maybe(row["label"], _label),
        "classes": [_of_class(one, labels) for one in typed(row["classes"], list)],
        **{name: maybe(row[name], number) for name in ("share", "variance", "seeds", "halves")},
        "units": [
            {"unit": below(one["unit"], units), "weight": number(one["weight"])} for one in typed(row["units"], list)
        ],
    }


def _label(found: Mapping[str, Any]) -> dict[str, Any]:
    words = {name: typed(found[name], str) for name in ("label", "by")}
    return {**words, "score": number(found["score"]), "interval": interval(found["interval"])}


def _of_class(row: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    own = below(row["number"], len(labels))
    removal = row["removal"]
    return {
        "class": own,
        "label": labels[own],
        "images": typed(row["images"], int),
        "contribution": _effect(row["contribution"]),
        "removal": {**_effect(removal), "p": maybe(removal["p"], number)},
    }


def _effect(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": number(found["value"]), "interval": interval(found["interval"])}


def _examples(rows: Any, tensors: "Mapping[str, Tensor]", concepts: int, files: Path) -> dict[str, Any] | None:
    """Return {rows, sheet, masks} of the examples; None for none."""
    import torch

    from innersight.render.sheets import colour_sheet, value_sheet

    if not typed(rows, list):
        return None
    crops, masks = tensors["crops"], tensors["masks"]
    if crops.dtype != torch.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
        raise ValueError(f"crops are {crops.dtype} {tuple(crops.shape)}")
    if not masks.is_floating_point() or masks.ndim != 3:
        raise ValueError(f"masks are {masks.dtype} {tuple(masks.shape)}")
    if not len(rows) == len(crops) == len(masks):
        raise ValueError(f"{len(rows)} examples, {len(crops)} crops, {len(masks)} masks")
    return {
        "rows": [
            {
                "concept": below(row["concept"], concepts),
                "name": "/".join(Path(typed(row["image"], str)).parts[-2:]),
                "value": number(row["value"]),
            }
            for row in rows
        ],
        "sheet": colour_sheet(files, crops.numpy()),
        "masks": value_sheet(files, masks.clamp(0, 1))["sheet"],
    }


def _as_concepts(reader: "StudyReader", key: Key, count: int, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the concepts add to the class of each image, by the image's id."""
    part = f"{key.part}/images"
    own = reader.all.get(replace(key, part=part))
    rows = [row for item in (own, *_added(reader, replace(key, part=part))) if item for row in item.document["images"]]
    return {
        # Those of another set of this name will be computed again.
        typed(row["id"], str): _image(row, labels)
        for row in rows
        if len(typed(row["values"], list)) == count
    }


def _added(reader: "StudyReader", key: Key) -> "list[Item]":
    return [item for name in reader.added("images") if (item := reader.all.get(replace(key, image=name)))]


def _image(row: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    import torch

    from innersight.concepts.images import strongest

    values = [number(one) for one in row["values"]]
    own = below(row["class"], len(labels))
    return {
        "class": own,
        "label": labels[own],
        **{name: number(row[name]) for name in ("score", "rest", "missing")},
        "values": values,
        "groups": list(strongest(torch.tensor(values).nan_to_num())),
    }


def _layers(reader: "StudyReader", row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sets that read a layer as layers, whose units are the concepts."""
    return [
        {
            **row,
            "name": f"{row['name']}~{Key.parse(item.key).part}",
            "kind": "Concepts",
            "role": "concept",
            "units": len(_order(item.document)),
            "parameters": 0,
            "reads": row["name"],
        }
        for item in _sets(reader)
        if Key.parse(item.key).layer == row["name"]
    ]


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any] | None:
    if chosen.units is not None:
        return None
    return {
        "sets": [
            {**one, "shown": {name: row for name, row in one["shown"].items() if name in chosen.images}}
            for one in document["sets"]
        ]
    }


def _how(reader: "StudyReader") -> str:
    found = _sets(reader)
    return str(found[0].document["definition"]) if found else "No concepts were found."


def _export(reader: "StudyReader", content: "Content") -> None:
    from innersight.study.content import sheet_of

    for item in _sets(reader):
        crops = item.tensors().get("crops")
        if crops is not None and len(crops):
            content.sheets[f"concepts/{Key.parse(item.key).layer}~{Key.parse(item.key).part}"] = sheet_of(crops.numpy())


@panels.register(
    "Concepts",
    order=95,
    missing="No concepts were found: that needs at least two images, and a layer with several locations. `innersight "
    "concepts MODEL FOLDER --out STUDY` finds those of any layer over a data set.",
    how=_how,
    document=_document,
    layers=_layers,
    select=_select,
    export=_export,
)
def concepts(context: "StudyContext") -> Iterator[StudyTask]:
    """The sets of concepts in the study, or one of its own; their maps and patterns; the images as concepts."""
    from innersight.study.concept_sets import key_of
    from innersight.study.drawing import passes_of, settings_of

    for address, settings in context.sets.items():
        key, own = key_of(address), settings.get("default")
        if own is None:
            count = len(_kept_order(context, key))
            yield StudyTask(key, dict(settings), _lost)
        else:
            count = min(DRAWN, own["count"])
            make = partial(_found, context, address)
            yield StudyTask(key, dict(settings), make, PASSES * own["images"], optional=True)
        yield from image_tasks(context, address)
        for start in range(0, count if context.plan.units else 0, CHUNK):
            many = min(CHUNK, count - start)
            yield StudyTask(
                Key("patterns", address, str(start)),
                settings_of(context, address),
                partial(_ranked, context, address, start),
                passes_of(context, many, context.plan.steps, address),
                optional=True,
                needs=key,
            )
