"""From stored values to the documents and sheets of the front end; the format is docs/data-contract.md."""

import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from innersight import __version__
from innersight.errors import InnersightError, printable
from innersight.storage.key import Key, document_path
from innersight.storage.permit import remember
from innersight.storage.sheet_names import files_of
from innersight.storage.stamp import stamp, written
from innersight.storage.store import Store, clear_errors
from innersight.storage.study_folder import StudyFolder, written_by_innersight
from innersight.study import plan
from innersight.study.panel import document_of, ordered, panels
from innersight.study.reader import StudyReader

FORMAT = 2
DIGITS = 8
ALONE = {"findings": "audit", "atlas": "atlas"}  # panels that a command fills, perhaps before there is a study


def write_documents(store: Store, only: Sequence[str] | None = None, into: StudyFolder | None = None) -> Path:
    """Write `web/documents` and `web/files` of a study and return the folder `web`.

    only : keys of the documents to write anew, besides `study`; everything when None. into : the folder to write `web`
    in; the study's own when None. Each document replaces the former one in one step, once its files are there, so that
    whoever reads meanwhile finds the study whole.

    Raises InnersightError when the study has not got as far as its model and images, is of another version, or holds
    what innersight does not write.
    """
    model, images = store.get("model"), store.get("images")
    if model is None or images is None:
        held = {Key.parse(name).panel for name in store.names()}
        kept = next((f"an {words}" for panel, words in ALONE.items() if panel in held), None)
        why = "nothing is finished yet" if kept is None else f"{kept} is kept here, and no study"
        anew = f"`innersight study MODEL IMAGES --out {printable(store.folder)}` makes the pages"
        raise InnersightError(f"{store.folder}: {why}; {anew if kept else 'run the study again'}")
    if model.document.get("format") != plan.FORMAT:
        raise InnersightError(f"{store.folder} was made by another version of innersight; run the study again")
    inside = into or store.inside
    if not inside.writable:
        raise InnersightError(f"{inside.folder} is read-only: copy the study to a folder of your own")
    reader = StudyReader(store, model)
    with clear_errors(inside.folder):
        inside.check()
        state, files = stamp(store.inside), inside.made("web", "files")
        with written_by_innersight(f"{store.folder}, what its network is"):
            keys = _keys(reader)
        used: set[str] = set()
        for key in keys if only is None else [key for key in only if key in keys]:
            with written_by_innersight(f"{store.folder}, what the document {key!r} is made from"):
                used |= _put(inside, key, _document(reader, files, key))
        with written_by_innersight(f"{store.folder}, what the document 'study' is made from"):
            used |= _put(inside, "study", {**_study(reader, files, keys), "stamp": state})
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


def _keys(reader: StudyReader) -> list[str]:
    """Return the keys of all documents but `study`: those of layers, then those of panels."""
    found = {document_of(key) for key in reader.all} | {f"layer/{name}" for name in reader.plan["layers"]}
    layers = (f"layer/{name}" for name in reader.layer_names())
    return [key for key in (*layers, *(entry.name for entry in ordered())) if key in found]


def _put(inside: StudyFolder, key: str, document: dict[str, Any]) -> set[str]:
    """Write a document and return the names of the files it refers to."""
    text = json.dumps({**jsonable(document), "format": FORMAT}, allow_nan=False, separators=(",", ":"))
    inside.put(text.encode(), *document_path(key))
    return files_of(document)


def _clear(inside: StudyFolder, keys: set[str], used: set[str]) -> None:
    """Remove documents and files that nothing refers to any more."""
    kept = {inside.path(*document_path(key)) for key in keys}
    for path in [*inside.walk("web", "documents"), *inside.files("web", "files").values()]:
        if path not in kept and path.name not in used:
            path.unlink()


def _document(reader: StudyReader, files: Path, key: str) -> dict[str, Any]:
    kind, _, name = key.partition("/")
    if kind != "layer":
        found: dict[str, Any] = panels.entry(key).document(reader, files)
        return found
    row = next(layer for layer in reader.layers if layer["name"] == name)
    about = {key: row[key] for key in ("name", "kind", "units", "grid", "prefix")}
    return _merged([about, *(entry.layer(reader, files, row) for entry in ordered() if entry.layer is not None)])


def _study(reader: StudyReader, files: Path, keys: Sequence[str]) -> dict[str, Any]:
    known = ordered()
    entries = {entry.name: reader.items(entry.name, images=True) for entry in known}
    layers = [
        {**layer, "document": f"layer/{layer['name']}" if f"layer/{layer['name']}" in keys else None}
        for layer in reader.layers
    ]
    seconds = {name: sum(item.seconds for item in items) for name, items in entries.items()}
    made = {entry.name: [(entry.counted(item), item) for item in entries[entry.name]] for entry in known if entry.per}
    about = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "layers": layers,
        "how": {entry.name: entry.how(reader) if callable(entry.how) else entry.how for entry in known if entry.how},
        "missing": [
            {"what": entry.name, "why": entry.missing(reader) if callable(entry.missing) else entry.missing}
            for entry in known
            if entry.missing and not reader.items(entry.name)
        ],
        "timing": [{"what": name, "seconds": seconds[name]} for name, items in entries.items() if items],
        "cost": {
            entry.name: {"seconds": sum(item.seconds for count, item in own if count) / total, "per": entry.per}
            for entry in known
            if (own := made.get(entry.name)) and (total := sum(count for count, _ in own))
        },
    }
    return _merged([about, *(entry.study(reader, files) for entry in known if entry.study is not None)])


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return one document of the fields of several panels, which must differ."""
    found: dict[str, Any] = {}
    for part in parts:
        if both := found.keys() & part.keys():
            raise TypeError(f"two panels give the field {', '.join(both)}: name one of them otherwise")
        found |= part
    return found


def jsonable(value: Any) -> Any:
    """Replace numbers that JSON cannot say by null, and round others to what float32 tells apart.

    As float64, a float32 has 17 digits: a layer of 40,000 units would take twice as long to open.
    """
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return value
