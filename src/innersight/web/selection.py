"""A part of a study: the layers of some units over some images, for a report of what the reader has pinned."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from innersight.address import Address, parse
from innersight.errors import InnersightError, nearest
from innersight.storage.sheet_names import files_of
from innersight.storage.study_folder import StudyFolder, parsed, read, written_by_innersight
from innersight.web.shell import documents
from innersight.web.tiles import Cutter

SHEETS = (".png", ".webp")
PART = "This file shows chosen units only."


def selected(
    inside: StudyFolder, units: Sequence[str], images: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Return the documents and files of a study that show these units over these images alone.

    units : addresses such as "stage1:3" or "stage1:0-7", or whole layers; all when empty. Where some are named, what is
    about no unit of them leaves too: patterns of classes and the record of training. images : ids or names; all when
    empty. The study then starts with the matrix of both. Raises InnersightError for names the study does not have.
    """
    found = {key: parsed(read(path), path) for key, path in documents(inside).items()}
    files = inside.files("web", "files")
    with written_by_innersight(inside.path("web", "documents")):
        return _selected(found, files, units, images)


def _selected(
    found: dict[str, dict[str, Any]], there: Mapping[str, Path], units: Sequence[str], images: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    study = found["study"]
    ids = [_id(study, name) for name in images] or [row["id"] for row in study["images"]]
    pinned = [unit for text in units for unit in _units(study, text)]
    layers = {f"layer/{unit.layer}" for unit in pinned} or {key for key in found if key.startswith("layer/")}
    found = {key: document for key, document in found.items() if not key.startswith("layer/") or key in layers}
    if not units and not images:
        return found, _read(there, _names(found))
    kept = [i for i, row in enumerate(study["images"]) if row["id"] in ids]
    cutter = Cutter(there)
    study["images"] = [study["images"][i] for i in kept]
    study["seen"] = cutter.cut(study["seen"], kept)
    study["layers"] = [
        {**row, "document": row["document"] if row["document"] in layers else None} for row in study["layers"]
    ]
    study["story"] = [layer for layer in study["story"] if f"layer/{layer}" in layers]
    shown_units = [unit for unit in pinned if unit.unit is not None]
    if shown_units:
        # As address.js writes them: what separates is escaped.
        escaped = (f"{unit.layer}:{unit.unit}".replace("%", "%25").replace(",", "%2C") for unit in shown_units)
        shown = ",".join(escaped)
        study["start"] = f"#/x?units={quote(shown, safe=':,/.')}&imgs={quote(','.join(ids), safe=',')}"
    for document in found.values():
        _drop_others(document, set(ids))
    if units:
        for kind in ("classes", "train"):
            found.pop(kind, None)
        study["missing"] = [*study["missing"], *({"what": what, "why": PART} for what in ("classes", "training"))]
        whole = {unit.layer for unit in pinned if unit.unit is None}
        for key in layers - {f"layer/{name}" for name in whole}:
            name = found[key]["name"]
            own = dict.fromkeys(unit.unit for unit in pinned if unit.layer == name and unit.unit is not None)
            found[key] = _of_units(found[key], list(own), cutter)
    return found, {**cutter.files, **_read(there, _names(found) - cutter.files.keys())}


def _of_units(layer: dict[str, Any], units: list[int], cutter: Cutter) -> dict[str, Any]:
    """Return a layer's document with the tiles of these units alone; `shown` names them."""
    found: dict[str, Any] = {**layer, "shown": units}

    def at_units(sheet: dict[str, Any]) -> dict[str, Any]:
        # A block's weights are those of its first layer, which may have fewer units.
        there = [unit for unit in units if unit < sheet["count"]]
        return {**cutter.cut(sheet, there), "at": there}

    found["activations"] = {
        key: {**maps, "sheet": at_units(maps["sheet"])} for key, maps in layer["activations"].items()
    }
    if layer["kernels"]:
        found["kernels"] = {**layer["kernels"], "sheet": at_units(layer["kernels"]["sheet"])}
    if layer["patterns"]:
        found["patterns"] = _some(layer["patterns"], units, cutter)
    if layer["compare"]:
        every = layer["compare"]["rank"]
        rank = [{**row, "place": place} for place, row in enumerate(every, 1) if row["unit"] in units]
        found["compare"] = {**layer["compare"], "rank": rank, "of": len(every)}
    if layer["connections"]:
        kept = _places(layer["connections"]["units"], units)
        own = {key: [layer["connections"][key][i] for i in kept] for key in ("units", "rows")}
        found["connections"] = {**layer["connections"], **own}
    if layer["examples"] and layer["examples"]["sheet"]:
        rows = layer["examples"]["rows"]
        kept = [i for i, row in enumerate(rows) if row["unit"] in units]
        sheets = {key: cutter.cut(layer["examples"][key], kept) for key in ("sheet", "masks")} if kept else {}
        found["examples"] = {**layer["examples"], **sheets, "rows": [rows[i] for i in kept]} if kept else None
    return found


def _some(patterns: dict[str, Any], units: list[int], cutter: Cutter) -> dict[str, Any] | None:
    kept = _places(patterns["units"], units)
    if not kept:
        return None
    found = {**patterns, "sheet": cutter.cut(patterns["sheet"], kept)}
    found |= {key: [patterns[key][i] for i in kept] for key in ("units", "score")}
    if others := patterns.get("others"):
        each = others["each"]
        tiles = [i * each + j for i in kept for j in range(each)]
        found["others"] = {**others, "sheet": cutter.cut(others["sheet"], tiles)}
    if negatives := patterns.get("negatives"):
        found["negatives"] = _some(negatives, units, cutter)
    return found


def _places(known: Sequence[int], units: Sequence[int]) -> list[int]:
    return [i for i, unit in enumerate(known) if unit in units]


def _names(documents: Mapping[str, Any]) -> set[str]:
    return {name for document in documents.values() for name in files_of(document)}


def _read(there: Mapping[str, Path], names: Iterable[str]) -> dict[str, bytes]:
    """Return the files named. No path is ever made from what a document says."""
    for name in names:
        if name not in there or not name.endswith(SHEETS):
            raise InnersightError(f"the study has no sheet {name!r}, which a document names; run the study again")
    return {name: read(there[name]) for name in sorted(names)}


def _id(study: dict[str, Any], name: str) -> str:
    for row in study["images"]:
        if name in (row["id"], row["name"]):
            return str(row["id"])
    known = [text for row in study["images"] for text in (row["id"], row["name"])]
    raise InnersightError(f"the study has no image {name!r}; {nearest(name, known)}")


def _units(study: dict[str, Any], text: str) -> list[Address]:
    parsed = parse(text)
    known = {row["name"]: row["units"] for row in study["layers"] if row["document"]}
    found = [one for one in parsed if isinstance(one, Address)]
    if len(found) < len(parsed):
        raise InnersightError(f"{text!r} is no unit: write LAYER:NUMBER, or a layer")
    for one in found:
        if one.layer not in known:
            raise InnersightError(f"the study shows no layer {one.layer!r}; {nearest(one.layer, known)}")
        if one.unit is not None and one.unit >= known[one.layer]:
            raise InnersightError(f"{one.layer} has the units 0 to {known[one.layer] - 1}, not {one.unit}")
    return found


def _drop_others(document: dict[str, Any], ids: set[str]) -> None:
    """Forget what a document says about other images."""
    if "entries" in document:
        document["entries"] = [entry for entry in document["entries"] if entry["image"] in ids]
    if "activations" in document and "grid" in document:
        document["activations"] = {name: found for name, found in document["activations"].items() if name in ids}
    if document.get("ablation"):
        own = document["ablation"]["own"]
        document["ablation"] = {**document["ablation"], "own": {name: own[name] for name in own if name in ids}}
    if document.get("compare"):
        at = [i for i, name in enumerate(document["compare"]["images"]) if name in ids]
        document["compare"] = _compared(document["compare"], at) if len(at) > 1 else None


def _compared(compare: dict[str, Any], at: Sequence[int]) -> dict[str, Any]:
    rank = [{**row, **{key: [row[key][i] for i in at] for key in ("strength", "sparsity")}} for row in compare["rank"]]
    return {**compare, "images": [compare["images"][i] for i in at], "rank": rank}
