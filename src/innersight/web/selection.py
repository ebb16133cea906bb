"""A part of a study: the layers of some units over some pictures, for a report of what the reader has pinned."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from innersight.address import Address, parse
from innersight.errors import InnersightError, nearest
from innersight.sheet_names import files_of
from innersight.web.shell import document_key


def selected(
    web: Path, units: Sequence[str], pictures: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Return the documents and files of a study's folder `web` that show these units over these pictures alone.

    units : addresses such as "stage1:3" or "stage1:0-7", whose layers are kept; all when empty. pictures : ids or
    names; all when empty. The study then starts with the matrix of both. Raises InnersightError for
    names the study does not have.
    """
    folder = web / "documents"
    found: dict[str, dict[str, Any]] = {
        document_key(folder, path): json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.json")
    }
    study = found["study"]
    ids = [_id(study, name) for name in pictures] or [row["id"] for row in study["pictures"]]
    pinned = [unit for text in units for unit in _units(study, text)]
    layers = {f"layer/{unit.layer}" for unit in pinned} or {key for key in found if key.startswith("layer/")}
    found = {key: document for key, document in found.items() if not key.startswith("layer/") or key in layers}
    if not units and not pictures:
        return found, _read(web / "files", _names(found))
    kept = [i for i, row in enumerate(study["pictures"]) if row["id"] in ids]
    columns = min(study["seen"]["columns"], len(kept))
    name, sheet = _cut(study["seen"], kept, columns, web / "files")
    study["pictures"] = [study["pictures"][i] for i in kept]
    study["seen"] = {**study["seen"], "files": [name], "columns": columns, "per_file": len(kept), "count": len(kept)}
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
    return found, {name: sheet, **_read(web / "files", _names(found) - {name})}


def _names(documents: Mapping[str, Any]) -> set[str]:
    return {name for document in documents.values() for name in files_of(document)}


def _read(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the files named. No path is ever made from what a document says."""
    known = {path.name: path for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    for name in names:
        if name not in known:
            raise InnersightError(f"{folder} has no file {name!r}, which a document names; run the study again")
    return {name: known[name].read_bytes() for name in sorted(names)}


def _id(study: dict[str, Any], name: str) -> str:
    for row in study["pictures"]:
        if name in (row["id"], row["name"]):
            return str(row["id"])
    known = [text for row in study["pictures"] for text in (row["id"], row["name"])]
    raise InnersightError(f"the study has no picture {name!r}; {nearest(name, known)}")


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
    """Forget what a document says about other pictures."""
    if "entries" in document:
        document["entries"] = [entry for entry in document["entries"] if entry["picture"] in ids]
    if "maps" in document and "grid" in document:
        document["maps"] = {name: found for name, found in document["maps"].items() if name in ids}
    if document.get("ablation"):
        own = document["ablation"]["own"]
        document["ablation"] = {**document["ablation"], "own": {name: own[name] for name in own if name in ids}}
    if document.get("compare"):
        at = [i for i, name in enumerate(document["compare"]["pictures"]) if name in ids]
        document["compare"] = _compared(document["compare"], at) if len(at) > 1 else None


def _compared(compare: dict[str, Any], at: Sequence[int]) -> dict[str, Any]:
    rank = [{**row, **{key: [row[key][i] for i in at] for key in ("strength", "sparsity")}} for row in compare["rank"]]
    return {**compare, "pictures": [compare["pictures"][i] for i in at], "rank": rank}


def _cut(sheet: dict[str, Any], kept: Sequence[int], columns: int, files: Path) -> tuple[str, bytes]:
    """Return a sheet with some tiles of another: pictures that were not chosen are not in the report."""
    width, height = sheet["tile"]
    cut = Image.new("RGB", (width * columns, height * -(-len(kept) // columns)))
    for at, i in enumerate(kept):
        with Image.open(files / sheet["files"][i // sheet["per_file"]]) as image:
            place = i % sheet["per_file"]
            left, top = place % sheet["columns"] * width, place // sheet["columns"] * height
            tile = image.convert("RGB").crop((left, top, left + width, top + height))
            cut.paste(tile, (at % columns * width, at // columns * height))
    buffer = io.BytesIO()
    cut.save(buffer, "WEBP", lossless=True)
    return "seen-selected.webp", buffer.getvalue()
