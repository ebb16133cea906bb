"""From stored values to the documents and sheets of the front end; the format is docs/data-contract.md."""

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from innersight import __version__
from innersight.errors import InnersightError
from innersight.heatmaps.request import methods
from innersight.render.colour import as_colour, to_bytes
from innersight.render.sheets import colour_sheet, image_file, value_sheet
from innersight.storage.permit import remember
from innersight.storage.sheet_names import files_of
from innersight.storage.stamp import stamp, written
from innersight.storage.store import Item, Store, clear_errors
from innersight.storage.study_folder import StudyFolder, written_by_innersight
from innersight.study.costs import costs
from innersight.study.plan import ITEMS
from innersight.study.scanned import examples_document, scan_document
from innersight.study.trusted import LEAST

FORMAT = 1


def write_documents(store: Store, only: Sequence[str] | None = None, into: StudyFolder | None = None) -> Path:
    """Write `web/documents` and `web/files` of a study and return the folder `web`.

    only : keys of the documents to write anew, besides `study`; everything when None. into : the folder to write `web`
    in; the study's own when None. Each document replaces the former one in one step, once its files are there, so that
    whoever reads meanwhile finds the study whole.

    Raises InnersightError when the study has not got as far as its model and images, is of another version, or holds
    what innersight does not write.
    """
    card, images = store.get("model"), store.get("images")
    if card is None or images is None:
        raise InnersightError(f"{store.folder}: nothing is finished yet; run the study again")
    if card.document.get("format") != ITEMS:
        raise InnersightError(f"{store.folder} was made by another version of innersight; run the study again")
    inside = into or store.inside
    if not inside.writable:
        raise InnersightError(f"{inside.folder} is read-only: copy the study to a folder of your own")
    with clear_errors(inside.folder):
        inside.check()
        state, files = stamp(store.inside), inside.made("web", "files")
        with written_by_innersight(f"{store.folder}, what its network is"):
            keys = _keys(store, card)
        used: set[str] = set()
        for key in keys if only is None else [key for key in only if key in keys]:
            kind, _, name = key.partition("/")
            with written_by_innersight(f"{store.folder}, what the document {key!r} is made from"):
                document = _layer(store, files, name, card) if kind == "layer" else _MAKERS[kind](store, files, card)
                used |= _put(inside, key, document)
        with written_by_innersight(f"{store.folder}, what the document 'study' is made from"):
            used |= _put(inside, "study", {**_study(store, files, card, images, keys), "stamp": state})
        if only is None:
            _clear(inside, {*keys, "study"}, used)
        if into is None:
            remember(inside, web=written(inside))
    return inside.path("web")


@contextmanager
def rendered(store: Store) -> Iterator[Path]:
    """Give a folder whose `web` shows the study as it is: its own, or a temporary one where that cannot be written."""
    if store.inside.writable:
        write_documents(store)
        yield store.folder
        return
    with tempfile.TemporaryDirectory(prefix="innersight-") as folder:
        write_documents(store, into=StudyFolder(Path(folder)))
        yield Path(folder)


def document_of(key: str) -> str | None:
    """Return the key of the document that shows an item; None where only the document `study` does.

    >>> keys = ("activations/a.b", "added/d1/activations/a", "patterns/a/16", "patterns/a/asked/1", "model")
    >>> [document_of(key) for key in keys]
    ['layer/a.b', 'layer/a', 'layer/a', 'layer/a', None]
    """
    kind, _, rest = key.partition("/")
    if kind == "added":
        kind, _, rest = rest.partition("/")[2].partition("/")
    if kind in ("activations", "compare", "ablation"):
        return f"layer/{rest}"
    if kind in ("patterns", "negatives", "connections"):
        return f"layer/{rest.rpartition('/')[0].removesuffix('/asked')}"
    return kind if kind in _MAKERS else None


def _keys(store: Store, card: Item) -> list[str]:
    """Return the keys of all documents but `study`: the plan's layers first, then the others in the network's order."""
    found = {document_of(key) for key in store.names()}
    names = dict.fromkeys([*card.document["plan"]["layers"], *(layer["name"] for layer in card.document["layers"])])
    planned = {f"layer/{name}" for name in card.document["plan"]["layers"]}
    return [key for key in (*(f"layer/{name}" for name in names), *_MAKERS) if key in found | planned]


def _path(key: str) -> tuple[str, ...]:
    kind, _, name = key.partition("/")
    return ("web", "documents", *((kind, f"{quote(name, safe='')}.json") if name else (f"{kind}.json",)))


def _put(inside: StudyFolder, key: str, document: dict[str, Any]) -> set[str]:
    """Write a document and return the names of the files it refers to."""
    text = json.dumps({"format": FORMAT, **_finite(document)}, allow_nan=False, separators=(",", ":"))
    inside.put(text.encode(), *_path(key))
    return files_of(document)


def _clear(inside: StudyFolder, keys: set[str], used: set[str]) -> None:
    """Remove documents and files that nothing refers to any more."""
    kept = {inside.path(*_path(key)) for key in keys}
    for path in [*inside.walk("web", "documents"), *inside.files("web", "files").values()]:
        if path not in kept and path.name not in used:
            path.unlink()


def _study(store: Store, files: Path, card: Item, images: Item, keys: Sequence[str]) -> dict[str, Any]:
    tensors = images.tensors()
    rows = [
        {**row, "original": image_file(files, tensors[f"original/{i}"].numpy())}
        for i, row in enumerate(images.document["images"])
    ]
    seen = [tensors["seen"]]
    for item in _added(store):
        own = item.tensors()
        rows.append({**item.document["image"], "original": image_file(files, own["original"].numpy())})
        seen.append(own["seen"][None])
    items = [item for item in store.starting("") if item.key != "asked"]
    layers = [
        {**layer, "document": f"layer/{layer['name']}" if f"layer/{layer['name']}" in keys else None}
        for layer in card.document["layers"]
    ]
    model = card.document["model"]
    return {
        "title": f"What {model['name']} sees",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "model": model,
        "images": rows,
        "seen": colour_sheet(files, torch.cat(seen).numpy()),
        "layers": layers,
        "story": card.document["plan"]["layers"],
        "how": _how(card.document["plan"], store),
        "missing": _missing(store, keys),
        "timing": [{"what": item.key, "seconds": item.seconds} for item in items],
        "cost": costs(items),
        "methods": {name: describe(name) for name in methods if methods.entry(name).reads != "captum"},
        "skipped": card.document["skipped"],
    }


def _added(store: Store) -> list[Item]:
    """Return the images that were added later."""
    return [item for item in store.starting("added/") if item.key.count("/") == 1]


def _layer(store: Store, files: Path, name: str, card: Item) -> dict[str, Any]:
    row = next(layer for layer in card.document["layers"] if layer["name"] == name)
    document = {key: row[key] for key in ("name", "kind", "units", "grid", "prefix")}
    maps, compared = store.get(f"activations/{name}"), store.get(f"compare/{name}")
    values = maps.tensors()["activations"] if maps else torch.zeros(0, row["units"], *row["grid"])
    of_images = {f"p{i}": of_image for i, of_image in enumerate(values)}
    for item in _added(store):
        if found := store.get(f"{item.key}/activations/{name}"):
            of_images[item.document["image"]["id"]] = found.tensors()["activations"][0]
    document["activations"] = {
        key: {**value_sheet(files, of_image), "mean": of_image.mean((1, 2)).tolist()}
        for key, of_image in of_images.items()
    }
    document["signed"] = any(bool((of_image < 0).any()) for of_image in of_images.values())
    document["patterns"] = _patterns(store, files, f"patterns/{name}/", card)
    if document["patterns"]:
        document["patterns"]["negatives"] = _patterns(store, files, f"negatives/{name}/", card)
    document["compare"] = None
    if compared:
        document["compare"] = {"images": [f"p{i}" for i in range(len(values))], **compared.document}
    seen = store.get("fields")
    document["field"] = seen.document.get(name) if seen else None
    shown = store.get(f"examples/{name}")
    document["ablation"] = _ablation(store, name)
    document["scan"] = scan_document(store, row, card)
    document["examples"] = examples_document(shown, files) if shown else None
    document["connections"] = _connections(store.starting(f"connections/{name}/"))
    kernels = store.get("kernels")
    document["kernels"] = None
    if kernels and (kernels.document["layer"] + ".").startswith(name + "."):
        document["kernels"] = {"sheet": colour_sheet(files, to_bytes(kernels.tensors()["pixels"]))}
    return document


def _ablation(store: Store, layer: str) -> dict[str, Any] | None:
    found = store.get(f"ablation/{layer}")
    if found is None:
        return None
    own = dict(found.document["own"])
    for item in _added(store):
        if one := store.get(f"{item.key}/ablation/{layer}"):
            for change in one.document["own"].values():
                own[item.document["image"]["id"]] = change
    return {**found.document, "own": own}


def _connections(parts: Sequence[Item]) -> dict[str, Any] | None:
    if not parts:
        return None
    # One that was asked for may have become part of the plan since.
    rows: dict[int, Any] = {}
    for part in parts:
        rows |= dict(zip(part.document["units"], part.document["rows"], strict=True))
    return {
        **{key: parts[0].document[key] for key in ("definition", "notes", "links")},
        "units": list(rows),
        "rows": list(rows.values()),
    }


def _trust(store: Store, files: Path, card: Item) -> dict[str, Any]:
    del files, card
    return next(iter(store.starting("trust"))).document


def _train(store: Store, files: Path, card: Item) -> dict[str, Any]:
    del files
    document = next(iter(store.starting("train"))).document
    order = {row["name"]: number for number, row in enumerate(card.document["layers"])}
    layers = sorted(document.get("layers", {}).items(), key=lambda named: order.get(named[0], len(order)))
    return {**document, "layers": dict(layers)}


def _class_patterns(store: Store, files: Path, card: Item) -> dict[str, Any]:
    return {"patterns": _patterns(store, files, "classes", card)}


def _patterns(store: Store, files: Path, prefix: str, card: Item) -> dict[str, Any] | None:
    parts = store.starting(prefix)
    if not parts:
        return None
    images = torch.cat([part.tensors()["images"] for part in parts])
    joined: dict[str, Any] = {
        key: [entry for part in parts for entry in part.document[key]]
        for key in ("units", "classes", "labels", "score")
        if key in parts[0].document
    }
    # One that was asked for may have become part of the plan since.
    names = joined.get("units") or joined["classes"]
    first = [i for i, name in enumerate(names) if name not in names[:i]]
    channels = card.document["model"]["input"]["shown"]
    return {
        "sheet": colour_sheet(files, as_colour(images[first], channels)),
        "others": _others_of(parts, files, channels, first),
        "settings": parts[0].document["settings"],
        **{key: [entries[i] for i in first] for key, entries in joined.items()},
    }


def _others_of(
    parts: Sequence[Item], files: Path, channels: Sequence[int], first: Sequence[int]
) -> dict[str, Any] | None:
    """Return the patterns of the seeds that are not shown: `each` for every unit, in the order of the units."""
    found = [tensors["others"] for part in parts if "others" in (tensors := part.tensors())]
    if not found:
        return None
    images = torch.cat(found)[first]
    return {"sheet": colour_sheet(files, as_colour(images.flatten(0, 1), channels)), "each": images.shape[1]}


def _heatmaps(store: Store, files: Path, card: Item) -> dict[str, Any]:
    del card
    entries: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in store.starting("heatmaps"):
        tensors = item.tensors()
        layer = {"name": item.document["layer"], "why": item.document["why"]}
        for i, row in enumerate(item.document["entries"]):
            key = row["image"], row["method"], row["class"], row["rival"]
            if key not in entries:
                entries[key] = _heatmap(row, tensors[str(i)], layer, files)
    return {
        "methods": {entry["method"]: describe(entry["method"]) for entry in entries.values()},
        "entries": list(entries.values()),
    }


def _heatmap(row: dict[str, Any], values: torch.Tensor, layer: dict[str, Any], files: Path) -> dict[str, Any]:
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
    }


_MAKERS = {"heatmaps": _heatmaps, "train": _train, "classes": _class_patterns, "trust": _trust}


def describe(method: str) -> dict[str, str]:
    """Return title, source and use of a heatmap method."""
    entry = methods.entry(method)
    return {"title": entry.title, "summary": entry.summary, "paper": entry.source, "when": entry.use}


def _missing(store: Store, keys: Sequence[str]) -> list[dict[str, str]]:
    reasons = {
        "training": ("train" in keys, "The network does not come from `innersight train`: no record of its training."),
        "compare": (
            bool(store.starting("compare/")),
            "A filter is compared between two images or more.",
        ),
        "patterns": (
            bool(store.starting("patterns/")),
            "None were asked for, or the study stopped before them.",
        ),
        "examples": (
            bool(store.starting("examples/")),
            "No data set was scanned into this study: innersight scan MODEL IMAGES --out STUDY, then study again.",
        ),
        "ablation": (
            bool(store.starting("ablation/")),
            "Units are switched off one by one in the last layers with a grid; the study has none, or stopped before.",
        ),
        "trust": (
            "trust" in keys,
            f"How far the heatmaps can be trusted is not known: testing their methods takes {LEAST} images or more. "
            "Scan a data set into the study (innersight scan MODEL IMAGES --out STUDY), then study again.",
        ),
        "connections": (
            bool(store.starting("connections/")),
            "None were asked for, or the study stopped before them.",
        ),
        "heatmaps": ("heatmaps" in keys, "The study stopped before the heatmaps; run the same command again."),
    }
    return [{"what": what, "why": why} for what, (there, why) in reasons.items() if not there]


def _how(plan: dict[str, Any], store: Store) -> dict[str, str]:
    heat = store.get("heatmaps")
    ablated, linked, tested = store.starting("ablation/"), store.starting("connections/"), store.get("trust")
    layer = ""
    if heat:
        where, why = heat.document["layer"], heat.document["why"]
        layer = (
            f" No class activation map is shown: {why}." if where is None else f" Grad-CAM is read at {where}: {why}."
        )
    return {
        "activations": "Every unit's activation over the image, as the network computed it, in the layer's own grid. "
        "Cells are not smoothed.",
        "compare": "The same units over all images, ranked by strength, sparsity and agreement; the definition "
        "stands beside the ranking.",
        "patterns": f"Activation maximization: up to {plan['steps']} steps of Adam from random pixels on the mean of "
        f"the unit's map (twice as many for a class logit), seed {plan['seed']}, under small random shifts, turns and "
        f"zooms; of {plan['seeds']} drawn the strongest. Score: peak response to the finished pattern, and as a "
        "multiple of the highest over the images of this study.",
        "examples": "One pass over a data set; of every unit the images with the highest and lowest peaks, and some "
        "in between. Each crop is most of what the place sees; it is dark where the unit is below half of its peak.",
        "ablation": ablated[0].document["definition"] if ablated else "No unit was switched off.",
        "connections": linked[0].document["definition"] if linked else "Connections between units were not computed.",
        "trust": tested.document["note"] if tested else "The heatmap methods were not tested.",
        "heatmaps": "Raw values for the logit of the class named, or for its lead over the class it is set against; "
        "zero keeps its colour, the legend prints it." + layer,
        "training": "Recorded while the network was trained: one point per recorded step, and statistics of the "
        "weights and gradients of every layer.",
    }


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot say by null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
