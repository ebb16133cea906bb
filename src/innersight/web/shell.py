"""The page around the front end, and the bundle of its modules."""

import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from innersight.storage.key import document_key
from innersight.storage.study_folder import GoneError, StudyFolder

STATIC = Path(__file__).parent / "static"
ENTRY = "main.js"

_IMPORT = re.compile(r'^import (?:\{(?P<names>[^}]*)\} from )?"(?P<path>[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) (\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def registered() -> list[str]:
    """Return the modules `panels/NAME.js` and `pages/NAME.js`: each registers itself, so that nothing else lists it."""
    return [f"{kind}/{path.name}" for kind in ("panels", "pages") for path in sorted((STATIC / kind).glob("*.js"))]


def bundle() -> str:
    """Return all modules as the text of one, for both hosts: a page opened from disk cannot import a file beside it.

    Each module becomes a function of its own, so its names stay private. Understands `import {a, b as c} from
    "./x.js"`, `import "./x.js"` and exported declarations, which is all the front end uses.
    """
    done: dict[str, str] = {}
    for name in (*registered(), ENTRY):
        _add(name, done, ())
    return "const modules = {};\n" + "".join(done.values())


def page(
    *,
    title: str,
    policy: str | None = None,
    style: str | None = None,
    script: str | None = None,
    documents: Iterable[tuple[str, str]] = (),
    files: Iterable[dict[str, str]] = (),
    parts: tuple[str, str] | None = None,
) -> str:
    """Return the HTML page; `style`, `script` and the texts of `documents` (escaped JSON) go in as they are.

    style, script : those beside the page when not given.
    parts : the folder beside the page that holds documents and files, and its documents' parts by key, as escaped JSON.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("shell.html").render(
        title=title,
        policy=policy,
        style=Markup(style) if style else None,
        script=Markup(script) if script else None,
        documents=((key, Markup(text)) for key, text in documents),
        files=files,
        parts=(parts[0], Markup(parts[1])) if parts else None,
    )


def study_web(study_folder: Path) -> StudyFolder:
    """Return the folder that shows a study, in `web/documents` and `web/files`; there may be no more in it.

    Raises InnersightError where there is none, and where a link or the like is in there.
    """
    inside = StudyFolder(Path(study_folder))
    if inside.file("web", "documents", "study.json") is None:
        raise GoneError(
            f"{study_folder} contains no study (web/documents/study.json is missing); make one with: innersight study"
        )
    inside.check()
    return inside


def documents(inside: StudyFolder) -> dict[str, Path]:
    """Return the files of all documents by their keys."""
    folder = inside.path("web", "documents")
    return {document_key(folder, path): path for path in inside.walk("web", "documents") if path.suffix == ".json"}


def _add(name: str, done: dict[str, str], above: tuple[str, ...]) -> None:
    """Add a module after the modules it imports."""
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join((*above, name))}")
    if name in done:
        return
    text = (STATIC / name).read_text(encoding="utf-8")
    for match in _IMPORT.finditer(text):
        _add(_target(name, match["path"]), done, (*above, name))

    def bind(match: re.Match[str]) -> str:
        target = f'modules["{_target(name, match["path"])}"]'
        return f"const {{{match['names'].replace(' as ', ': ')}}} = {target};\n" if match["names"] else ""

    body = _EXPORT.sub("", _IMPORT.sub(bind, text))
    if left := _LEFT_OVER.search(body):
        raise ValueError(f"{name}: {left[0]!r} is not one of the import and export forms that can be bundled")
    if "</script" in body.lower() or "<!--" in body:
        raise ValueError(f"{name}: an inline script cannot hold </script or <!--")
    exports = ", ".join(_EXPORT.findall(text))
    done[name] = f'modules["{name}"] = await (async () => {{\n{body}return {{ {exports} }};\n}})();\n'


def _target(name: str, path: str) -> str:
    return (STATIC / name).parent.joinpath(path).resolve().relative_to(STATIC.resolve()).as_posix()
