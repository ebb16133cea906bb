"""A part of a study: the layers of some units over some images, for a report of what the reader has pinned."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from innersight.address import Address, parse
from innersight.errors import InnersightError, nearest
from innersight.storage.sheet_names import files_of
from innersight.storage.study_folder import StudyFolder, parsed, read, written_by_innersight
from innersight.study.panel import Selection, ordered, panels
from innersight.web.shell import documents
from innersight.web.tiles import Cutter

SHEETS = (".png", ".webp")
PART = "This report contains selected units only."


def selected(
    inside: StudyFolder, units: Sequence[str], images: Sequence[str], lacking: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Return the documents and files of a study that show these units over these images alone.

    units : addresses such as "stage1:3" or "stage1:0-7", or whole layers; all when empty. Where some are named, what is
    about no unit of them leaves too: patterns of classes and the record of training. images : ids or names; all when
    empty. The study then starts with the matrix of both. lacking : why a panel
    has less than it could, by its name. Raises InnersightError for names the study does not have.
    """
    found = {key: parsed(read(path), path) for key, path in documents(inside).items()}
    files = inside.files("web", "files")
    with written_by_innersight(inside.path("web", "documents")):
        missing = [{"what": what, "why": why} for what, why in lacking.items()]
        found["study"]["missing"] = [*found["study"]["missing"], *missing]
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
    study["default_layers"] = [layer for layer in study["default_layers"] if f"layer/{layer}" in layers]
    shown_units = [unit for unit in pinned if unit.unit is not None]
    if shown_units:
        # As address.js writes them: what separates is escaped.
        escaped = (f"{unit.layer}:{unit.unit}".replace("%", "%25").replace(",", "%2C") for unit in shown_units)
        shown = ",".join(escaped)
        study["start"] = f"#/x?units={quote(shown, safe=':,/.')}&imgs={quote(','.join(ids), safe=',')}"
    wanted = frozenset(ids)
    whole = {unit.layer for unit in pinned if unit.unit is None}
    named: dict[str, list[int] | None] = {}
    for unit in pinned:
        own = [one.unit for one in pinned if one.layer == unit.layer and one.unit is not None]
        named[unit.layer] = None if unit.layer in whole else list(dict.fromkeys(own))
    addresses = named if units else None
    overall = Selection(wanted, [] if units else None, addresses, cutter.cut)
    for key in list(found):
        if key.startswith("layer/"):
            name = found[key]["name"]
            chosen = None if addresses is None else addresses[name]
            found[key] = _of_layer(found[key], Selection(wanted, chosen, addresses, cutter.cut))
        elif key in panels:
            select = panels.entry(key).select
            # A panel that selects nothing is left out.
            changes = None if select is None else select(found[key], overall)
            if changes is None:
                del found[key]
                study["missing"] = [*study["missing"], {"what": key, "why": PART}]
            else:
                found[key] = {**found[key], **changes}
    return found, {**cutter.files, **_read(there, _names(found) - cutter.files.keys())}


def _of_layer(layer: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    """Return a layer's document with what is chosen alone; `shown` names its units."""
    found = dict(layer) if chosen.units is None else {**layer, "shown": chosen.units}
    for entry in ordered():
        if entry.layer is not None and entry.select is not None:
            found |= entry.select(layer, chosen)
    return found


def _names(documents: Mapping[str, Any]) -> set[str]:
    return {name for document in documents.values() for name in files_of(document)}


def _read(there: Mapping[str, Path], names: Iterable[str]) -> dict[str, bytes]:
    """Return the files named. No path is ever made from what a document says."""
    for name in names:
        if name not in there or not name.endswith(SHEETS):
            raise InnersightError(f"the study lacks the file {name!r}; run the study again")
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
        raise InnersightError(f"{text!r} is not a unit: write LAYER:NUMBER, or the name of a layer")
    for one in found:
        if one.layer not in known:
            raise InnersightError(f"the study has not computed layer {one.layer!r}; {nearest(one.layer, known)}")
        if one.unit is not None and one.unit >= known[one.layer]:
            raise InnersightError(f"{one.layer} has the units 0 to {known[one.layer] - 1}, not {one.unit}")
    return found
