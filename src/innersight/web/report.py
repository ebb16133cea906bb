"""A study as one HTML page that works with the network off: a file to open from disk, or a frame in a notebook."""

import base64
import hashlib
import json
import mimetypes
import os
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import unquote

from innersight.web import shell


def write_report(study_folder: Path, out: Path) -> Path:
    """Bundle the front end, the documents and the files of a study into one self-contained HTML file.

    study_folder : holds `web/documents/*.json` and `web/files/*` as docs/data-contract.md describes.
    out : the file to write; its folder is created. It is replaced only once the new one is complete.

    Returns `out`. The file asks for nothing from outside and runs only the script whose hash its policy names.
    Raises InnersightError where there is no study.
    """
    out = Path(out)
    html = _page(Path(study_folder))
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
    content = escape(_page(Path(study_folder)), quote=True)
    return (
        f'<iframe title="Innersight" sandbox="allow-scripts" width="100%" height="{height:d}" '
        f'style="border: 1px solid #8884; border-radius: 8px" srcdoc="{content}"></iframe>'
    )


def _page(study_folder: Path) -> str:
    web = shell.study_web(study_folder)
    # A parser reads CRLF as LF before the browser takes the hash.
    style = (shell.STATIC / "style.css").read_text(encoding="utf-8").replace("\r\n", "\n")
    script = shell.bundle().replace("\r\n", "\n")
    study = json.loads((web / "documents" / "study.json").read_text(encoding="utf-8"))
    return shell.page(
        title=str(study.get("title") or "Innersight"),
        policy=(
            f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
            "img-src blob: data:; base-uri 'none'; form-action 'none'"
        ),
        style=style,
        script=script,
        documents=_documents(web / "documents"),
        files=_files(web / "files"),
    )


def document_key(folder: Path, path: Path) -> str:
    """Return the key of a document file: `layer/a%2Fb.json` is `layer/a/b`.

    >>> document_key(Path("d"), Path("d/layer/a%2Fb.json"))
    'layer/a/b'
    """
    return "/".join(unquote(part) for part in path.relative_to(folder).with_suffix("").parts)


def _documents(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.json")):
        # Read and written again: compact, and refused here rather than in the reader's browser when broken.
        text = json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"), allow_nan=False)
        yield document_key(folder, path), text.replace("<", "\\u003c")


def _files(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted(folder.glob("*")):
        if path.is_file():
            kind = "image/webp" if path.suffix == ".webp" else mimetypes.guess_type(path.name)[0]
            yield {
                "name": path.name,
                "type": kind or "application/octet-stream",
                "base64": base64.b64encode(path.read_bytes()).decode("ascii"),
            }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
