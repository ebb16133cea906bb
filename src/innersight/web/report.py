"""A study as one HTML page that works with the network off: a file to open from disk, or a frame in a notebook."""

import base64
import hashlib
import json
import mimetypes
import os
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from innersight.web import shell
from innersight.web.selection import selected


def write_report(study_folder: Path, out: Path, *, units: Sequence[str] = (), pictures: Sequence[str] = ()) -> Path:
    """Bundle the front end, the documents and the files of a study into one self-contained HTML file.

    study_folder : holds `web/documents/*.json` and `web/files/*` as docs/data-contract.md describes.
    out : the file to write; its folder is created. It is replaced only once the new one is complete.
    units, pictures : only these, see `innersight.web.selection.selected`; everything when neither is given.

    Returns `out`. The file asks for nothing from outside and runs only the script whose hash its policy names.
    Raises InnersightError where there is no study, or for units and pictures it does not have.
    """
    out = Path(out)
    html = report_page(Path(study_folder), units, pictures)
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
        os.chmod(name, 0o644)
        os.replace(name, out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return out


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


def report_page(study_folder: Path, units: Sequence[str] = (), pictures: Sequence[str] = ()) -> str:
    """Return the text of the report; see `write_report`."""
    documents, files = selected(shell.study_web(study_folder), units, pictures)
    # A parser reads CRLF as LF before the browser takes the hash.
    style = (shell.STATIC / "style.css").read_text(encoding="utf-8").replace("\r\n", "\n")
    script = shell.bundle().replace("\r\n", "\n")
    return shell.page(
        title=str(documents["study"].get("title") or "Innersight"),
        policy=(
            f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
            "img-src blob: data:; base-uri 'none'; form-action 'none'"
        ),
        style=style,
        script=script,
        documents=((key, _text(document)) for key, document in sorted(documents.items())),
        files=(_file(name, data) for name, data in sorted(files.items())),
    )


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _file(name: str, data: bytes) -> dict[str, str]:
    kind = "image/webp" if name.endswith(".webp") else mimetypes.guess_type(name)[0]
    return {
        "name": name,
        "type": kind or "application/octet-stream",
        "base64": base64.b64encode(data).decode("ascii"),
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
