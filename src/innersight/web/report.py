"""A study as one HTML page that works with the network off: a file to open from disk, or a frame in a notebook."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from innersight.errors import InnersightError
from innersight.storage.study_folder import written_by_innersight
from innersight.storage.writing import replacing, write_text
from innersight.web import shell
from innersight.web.selection import selected

LARGEST = 25_000_000


def write_report(
    study_folder: Path,
    out: Path,
    *,
    units: Sequence[str] = (),
    images: Sequence[str] = (),
    lacking: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Bundle the front end, the documents and the files of a study into one self-contained HTML file.

    Beyond 25 MB the page stays small and a folder `NAME_parts` beside it holds the rest, loaded when it is needed.

    study_folder : holds `web/documents/*.json` and `web/files/*` as docs/data-contract.md describes, and perhaps the
    rest of a study; see `innersight.study.documents.rendered`.
    out : the file to write; its folder is created. It is replaced only once the new one is complete.
    units, images : only these, see `innersight.web.selection.selected`; everything when neither is given.
    lacking : why a panel has less of them than it could, by its name.

    Returns `out`. The file asks for nothing from outside and runs only the script whose hash its policy names.
    Raises InnersightError where there is no study, or for units and images it does not have.
    """
    out = Path(out)
    if not os.access(_existing(out.parent), os.W_OK):
        raise InnersightError(f"{out.parent} is read-only: choose another file for the report with --out")
    html = report_page(Path(study_folder), units, images, lacking)
    beside = out.with_name(f"{out.stem}_parts")
    if len(html) <= LARGEST:
        write_text(out, html)
        _forget(beside)
        return out
    if beside.exists() and not _is_parts(beside):
        raise InnersightError(
            f"{beside} is needed for the parts of this report, but contains other files: rename it or the report"
        )
    with replacing(out) as page, replacing(beside) as parts:
        page.write_bytes(_in_parts(Path(study_folder), parts, units, images, lacking).encode())
    return out


def _existing(folder: Path) -> Path:
    return next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), folder)


def _is_parts(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / "document-0.js").is_file()


def _forget(folder: Path) -> None:
    """Remove the parts of an earlier report, and no folder of another kind."""
    if _is_parts(folder):
        shutil.rmtree(folder)


def _in_parts(
    study_folder: Path, folder: Path, units: Sequence[str], images: Sequence[str], lacking: Mapping[str, str]
) -> str:
    """Write documents and files as scripts into `folder`, and return the page that loads each when it is needed."""
    documents, files = selected(shell.study_web(study_folder), units, images, lacking)
    keys = {key: f"document-{i}" for i, key in enumerate(sorted(documents))}
    folder.mkdir()
    for key, name in keys.items():
        (folder / f"{name}.js").write_text(f'innersightPart("{name}", {_text(documents[key])});\n', encoding="utf-8")
    for name, data in files.items():
        value = json.dumps({key: text for key, text in _file(name, data).items() if key != "name"})
        (folder / f"{name}.js").write_text(f"innersightPart({json.dumps(name)}, {value});\n", encoding="utf-8")
    title = str(documents["study"].get("title") or "Innersight")
    return _framed(title, scripts="'self' file:", parts=(folder.name, _text(keys)))


def embed(study_folder: Path, *, height: int = 800) -> str:
    """Return the report as the HTML of a frame, for notebooks.

    height : of the frame, in CSS pixels. The frame may run the report's script and nothing else: it cannot reach the
    notebook around it. Raises InnersightError where there is no study.
    """
    content = escape(report_page(Path(study_folder)), quote=True)
    return (
        f'<iframe title="Innersight" sandbox="allow-scripts" width="100%" height="{height:d}" '
        f'style="border: 1px solid #8884; border-radius: 8px" srcdoc="{content}"></iframe>'
    )


def report_page(
    study_folder: Path,
    units: Sequence[str] = (),
    images: Sequence[str] = (),
    lacking: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the text of the report; see `write_report`."""
    documents, files = selected(shell.study_web(study_folder), units, images, lacking)
    return _framed(
        str(documents["study"].get("title") or "Innersight"),
        documents=((key, _text(document)) for key, document in sorted(documents.items())),
        files=(_file(name, data) for name, data in sorted(files.items())),
    )


def _framed(title: str, scripts: str = "", **contents: Any) -> str:
    """Return the page. scripts : what else than its own script it may run."""
    # A parser reads CRLF as LF before the browser takes the hash.
    style = (shell.STATIC / "style.css").read_text(encoding="utf-8").replace("\r\n", "\n")
    script = shell.bundle().replace("\r\n", "\n")
    allowed = f"{_hash(script)} {scripts}".rstrip()
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
    return shell.page(title=title, policy=policy, style=style, script=script, **contents)


def _text(document: Any) -> str:
    with written_by_innersight("a document of the study"):
        return json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _file(name: str, data: bytes) -> dict[str, str]:
    return {
        "name": name,
        "type": "image/webp" if name.endswith(".webp") else "image/png",
        "base64": base64.b64encode(data).decode("ascii"),
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
