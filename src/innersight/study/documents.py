"""From stored values to the documents and sheets of the front end; the format is docs/data-contract.md."""

import json
import math
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from innersight import __version__
from innersight.errors import InnersightError
from innersight.heatmaps.request import methods
from innersight.render.colour import as_colour, to_bytes
from innersight.render.sheets import colour_sheet, picture_file, value_sheet
from innersight.store import Item, Store
from innersight.study.plan import ITEMS
from innersight.study.scanned import examples_document, scan_document

FORMAT = 1


def write_documents(store: Store) -> Path:
    """Write `web/documents` and `web/files` of a study anew and return the folder `web`.

    Raises InnersightError when the study has not got as far as its model and pictures, or is of another version.
    """
    card, pictures = store.get("model"), store.get("pictures")
    if card is None or pictures is None:
        raise InnersightError(f"{store.folder}: nothing is finished yet; run the study again")
    if card.document.get("format") != ITEMS:
        raise InnersightError(f"{store.folder} was made by another version of innersight; run the study again")
    web = store.folder / "web"
    partial = store.folder / "web.partial"
    shutil.rmtree(partial, ignore_errors=True)
    files = partial / "files"
    documents = {f"layer/{name}": _layer(store, files, name, card) for name in card.document["plan"]["layers"]}
    documents |= {key: doc for key, doc in _others(store, files, card).items() if doc is not None}
    documents["study"] = _study(store, files, card, pictures, set(documents))
    for key, document in documents.items():
        kind, _, name = key.partition("/")
        path = partial / "documents" / kind / quote(name, safe="") if name else partial / "documents" / kind
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, **_finite(document)}, allow_nan=False, separators=(",", ":"))
        path.with_name(path.name + ".json").write_text(text)
    shutil.rmtree(web, ignore_errors=True)
    partial.rename(web)
    return web


def _study(store: Store, files: Path, card: Item, pictures: Item, keys: set[str]) -> dict[str, Any]:
    tensors = pictures.tensors()
    rows = [
        {**row, "original": picture_file(files, tensors[f"original/{i}"].numpy())}
        for i, row in enumerate(pictures.document["pictures"])
    ]
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
        "pictures": rows,
        "seen": colour_sheet(files, tensors["seen"].numpy()),
        "layers": layers,
        "story": card.document["plan"]["layers"],
        "how": _how(card.document["plan"], store),
        "missing": _missing(store, keys),
        "timing": [{"what": item.key, "seconds": item.seconds} for item in store.starting("")],
        "skipped": card.document["skipped"],
    }


def _layer(store: Store, files: Path, name: str, card: Item) -> dict[str, Any]:
    row = next(layer for layer in card.document["layers"] if layer["name"] == name)
    document = {key: row[key] for key in ("name", "kind", "units", "grid", "prefix")}
    maps, compared = store.get(f"maps/{name}"), store.get(f"compare/{name}")
    values = maps.tensors()["maps"] if maps else torch.zeros(0, row["units"], *row["grid"])
    document["maps"] = {
        f"p{i}": {**value_sheet(files, of_picture), "mean": of_picture.mean((1, 2)).tolist()}
        for i, of_picture in enumerate(values)
    }
    document["signed"] = bool((values < 0).any())
    document["patterns"] = _patterns(store, files, f"patterns/{name}/", card)
    if document["patterns"]:
        document["patterns"]["negatives"] = _patterns(store, files, f"negatives/{name}", card)
    document["compare"] = None
    if compared:
        document["compare"] = {"pictures": [f"p{i}" for i in range(len(values))], **compared.document}
    seen = store.get("fields")
    document["field"] = seen.document.get(name) if seen else None
    ablated, shown = store.get(f"ablation/{name}"), store.get(f"examples/{name}")
    document["ablation"] = ablated.document if ablated else None
    document["scan"] = scan_document(store, row, card)
    document["examples"] = examples_document(shown, files) if shown else None
    document["connections"] = None
    kernels = store.get("kernels")
    document["kernels"] = None
    if kernels and (kernels.document["layer"] + ".").startswith(name + "."):
        document["kernels"] = {"sheet": colour_sheet(files, to_bytes(kernels.tensors()["pixels"]))}
    return document


def _others(store: Store, files: Path, card: Item) -> dict[str, dict[str, Any] | None]:
    heat, train, classes = store.get("heatmaps"), store.get("train"), store.get("classes")
    return {
        "heatmaps": _heatmaps(heat, files) if heat else None,
        "train": train.document if train else None,
        "classes": {"patterns": _patterns(store, files, "classes", card)} if classes else None,
    }


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
    channels = card.document["model"]["input"]["shown"]
    return {
        "sheet": colour_sheet(files, as_colour(images, channels)),
        "others": _others_of(parts, files, channels),
        "settings": parts[0].document["settings"],
        **joined,
    }


def _others_of(parts: Sequence[Item], files: Path, channels: Sequence[int]) -> dict[str, Any] | None:
    """Return the patterns of the seeds that are not shown: `each` for every unit, in the order of the units."""
    found = [tensors["others"] for part in parts if "others" in (tensors := part.tensors())]
    if not found:
        return None
    images = torch.cat(found)
    return {"sheet": colour_sheet(files, as_colour(images.flatten(0, 1), channels)), "each": images.shape[1]}


def _heatmaps(item: Item, files: Path) -> dict[str, Any]:
    tensors = item.tensors()
    layer = {"name": item.document["layer"], "why": item.document["why"]}
    entries: list[dict[str, Any]] = []
    for i, row in enumerate(item.document["entries"]):
        values = tensors[str(i)]
        sheet = value_sheet(files, values[None])
        target = {
            "class": row["class"],
            "label": row["label"],
            "logit": row["logit"],
            "text": row["question"],
            "rival": row["rival"],
            "rival_label": row["rival_label"],
        }
        entries.append(
            {
                "picture": row["picture"],
                "method": row["method"],
                "target": target,
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
        )
    return {"methods": {row["method"]: describe(row["method"]) for row in item.document["entries"]}, "entries": entries}


def describe(method: str) -> dict[str, str]:
    """Return title, source and use of a heatmap method, from its docstring."""
    text = " ".join((methods[method].__doc__ or "").split())
    head, _, rest = text.partition(": ")
    what, _, rest = rest.partition(". When to use: ")
    return {"title": head, "paper": what.rstrip("."), "when": rest.split(". ")[0].rstrip(".")}


def _missing(store: Store, keys: set[str]) -> list[dict[str, str]]:
    reasons = {
        "training": ("train" in keys, "The network does not come from `innersight train`: no record of its training."),
        "compare": (
            bool(store.starting("compare/")),
            "A filter is compared between two pictures or more.",
        ),
        "patterns": (
            bool(store.starting("patterns/")),
            "None were asked for, or the study stopped before them.",
        ),
        "examples": (
            bool(store.starting("examples/")),
            "No data set was scanned into this study: innersight scan MODEL PICTURES --out STUDY, then study again.",
        ),
        "ablation": (
            bool(store.starting("ablation/")),
            "Units are switched off one by one in the last layers with a grid; the study has none, or stopped before.",
        ),
        "trust": ("trust" in keys, "How far the heatmaps can be trusted was not measured; innersight trust does."),
        "heatmaps": ("heatmaps" in keys, "The study stopped before the heatmaps; run the same command again."),
    }
    return [{"what": what, "why": why} for what, (there, why) in reasons.items() if not there]


def _how(plan: dict[str, Any], store: Store) -> dict[str, str]:
    heat = store.get("heatmaps")
    ablated = store.starting("ablation/")
    layer = f" Grad-CAM is read at {heat.document['layer']}: {heat.document['why']}." if heat else ""
    return {
        "maps": "Every unit's activation over the picture, as the network computed it, in the layer's own grid. "
        "Cells are not smoothed.",
        "compare": "The same units over all pictures, ranked by strength, sparsity and agreement; the definition "
        "stands beside the ranking.",
        "patterns": f"Activation maximization: up to {plan['steps']} steps of Adam from random pixels on the mean of "
        f"the unit's map (twice as many for a class logit), seed {plan['seed']}, under small random shifts, turns and "
        f"zooms; of {plan['seeds']} drawn the strongest. Score: peak response to the finished pattern, and as a "
        "multiple of the highest over the pictures of this study.",
        "examples": "One pass over a data set; of every unit the pictures with the highest and lowest peaks, and some "
        "in between. Each crop is most of what the place sees; it is dark where the unit is below half of its peak.",
        "ablation": ablated[0].document["definition"] if ablated else "No unit was switched off.",
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
