"""What a study may open on this machine: the network it names, and images by the paths it names.

A study says where its network and its images came from, and whoever sent it wrote that. Such a claim is followed only
where this user made it on this machine: a mark is kept outside of the study, in `$INNERSIGHT_STATE`, else in
`innersight` in `$XDG_STATE_HOME` or `~/.local/state`. A mark is a digest of what the study claimed when it was made, so
a study that somebody altered, or made elsewhere, has none. Whoever opens one of those names the network and the images.
docs/decisions/0013-studies-of-strangers.md has the reasons. Nothing here loads torch.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from innersight.errors import InnersightError, WriteError, printable
from innersight.storage import index
from innersight.storage.study_folder import StudyFolder, parsed
from innersight.storage.writing import write_text

EMBEDDED = ("toon", "toon:robust")  # no file and no code of anybody's
_SETS = re.compile(r"((?:hf|python):.+)#\d{1,18}", re.DOTALL)
ARCHIVE = re.compile(r"\.(tar|tgz|tbz2|txz)(\.\w+)?$", re.IGNORECASE)
_RUNS = ("python", "lightning")
KEPT = 32  # states of a study and its copies that are remembered
T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """What is remembered of a study and its copies: digests, the latest last.

    study : of what it claims. scan : of the names in its scan, with the folder they are relative to. web : of its
    documents as they were written here.
    """

    study: tuple[str, ...] = ()
    scan: tuple[tuple[str, str], ...] = ()
    web: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claims:
    """What a study says about its origin. source : of the network, from `where` on. paths : of its images."""

    source: str
    where: str
    paths: tuple[str | None, ...] = ()

    def digest(self) -> str:
        """Return what tells these claims from any others."""
        return _digest([self.source, self.where, *self.paths])


@dataclass(frozen=True)
class Permit:
    """What a study may open: what it claims where this user made it, and what this user names now.

    named : whether the network is named now. images : folders and files, and names of data sets.
    """

    inside: StudyFolder
    named: bool = False
    images: tuple[str, ...] = field(default=())

    def network(self) -> Claims:
        """Return which network to open, and from where. Raises InnersightError that says what to type instead."""
        if why := self.refusal(images=False):
            raise InnersightError(why)
        return self._claims

    def refusal(self, *, images: bool = True) -> str | None:
        """Say in one sentence why nothing can be computed with what is named, and what to type; None where it can."""
        claims = self._claims
        network = not (self.named or self._own or claims.source in EMBEDDED)
        unnamed = images and any(path is not None for path in claims.paths) and not (self._own or self.images)
        if not network and not unnamed:
            return None
        typed = f"{' --model MODEL' if network else ''}{' --images FOLDER' if unnamed else ''}"
        says = []
        if network:
            says.append(f"its network is {printable(claims.source)}{_warning(claims.source)}")
        if unnamed:
            shown = next(path for path in claims.paths if path is not None)
            says.append(f"its images lie at {printable(os.path.dirname(shown) or '.')}")
        return (
            f"This study was not made by you on this machine, or was changed since, so nothing it names is opened. It "
            f"says that {' and '.join(says)}: to compute, name {'them' if len(says) > 1 else 'that'} yourself with "
            f"`innersight view {printable(self.inside.folder)}{typed}`."
        )

    def image(self, claimed: str) -> str:
        """Return the path of an image of the study. Raises InnersightError where it is not this user who named it."""
        return claimed if self._own else self._found(claimed)

    def scanned(self, claimed: str) -> tuple[str, str]:
        """Return the name of an image of the scan, to open it by, and the folder from where on.

        Raises InnersightError where it is not this user who named it.
        """
        if self._own_scan is not None:
            return claimed, self._own_scan
        one = _SETS.fullmatch(claimed)
        if one is None:
            return self._found(claimed), os.getcwd()
        if one[1] not in self.images:
            raise InnersightError(self._not_named(one[1], one[1]))
        return claimed, os.getcwd()

    @cached_property
    def _claims(self) -> Claims:
        return claims_of(self.inside)

    @cached_property
    def _mark(self) -> Mark:
        return mark_of(self.inside)

    @cached_property
    def _own(self) -> bool:
        return self._claims.digest() in self._mark.study and not _inside_itself(self._claims, self.inside)

    @cached_property
    def _own_scan(self) -> str | None:
        """Where the scan was made from, where this user made it."""
        return dict(self._mark.scan).get(scanned_names(self.inside).digest()) if self._mark.scan else None

    def _found(self, claimed: str) -> str:
        """Return the image among those named now that is most likely the one: its name and folders agree longest."""
        parts = claimed.replace("\\", "/").split("/")
        at = next((i for i, part in enumerate(parts) if ARCHIVE.search(part)), len(parts) - 1)
        candidates = self._named.get(parts[at], ())
        if not candidates:
            raise InnersightError(self._not_named(parts[-1], "FOLDER"))
        best = max(candidates, key=lambda path: _agreeing(path.parts, parts[: at + 1]))
        return "/".join([os.fspath(best), *parts[at + 1 :]])

    @cached_property
    def _named(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for text in self.images:
            for path in _files(Path(text)):
                found.setdefault(path.name, []).append(path)
        return found

    def _not_named(self, name: str, typed: str) -> str:
        missing = f"is not in {printable(', '.join(self.images))}" if self.images else "is read only where you name it"
        return (
            f"{printable(self.inside.folder)} was not made by you on this machine, or was changed since: its image "
            f"{printable(name)} {missing}; type --images {printable(typed)}"
        )


def claims_of(inside: StudyFolder) -> Claims:
    """Return what a study claims. Raises InnersightError where it has not got as far, or holds something else."""
    with index.reading(inside) as db:
        rows = dict(db.execute("SELECT key, document FROM items WHERE key IN ('model', 'images')").fetchall())
    if "model" not in rows:
        raise InnersightError(f"{inside.folder}: nothing is finished yet; run the study again")
    card = _document(inside, "model", rows["model"])
    model, where = card.get("model"), card.get("where")
    source = model.get("source") if isinstance(model, dict) else None
    listed = _document(inside, "images", rows["images"]).get("sources") if "images" in rows else []
    paths: list[Any] = [one.get("path") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else [0]
    if not isinstance(source, str) or not isinstance(where, str) or not all(isinstance(p, str | None) for p in paths):
        raise InnersightError(
            f"{inside.folder / index.INDEX} does not say where network and images came from: make the study again"
        )
    return Claims(source, where, tuple(paths))


def remember(
    inside: StudyFolder, *, study: str | None = None, scan: Sequence[tuple[str, str]] = (), web: str | None = None
) -> str | None:
    """Add what is given to the `Mark` of this study; return a sentence where that cannot be kept."""
    name, mark = index.identity(inside), mark_of(inside)
    new = Mark(_latest(mark.study, study), _latest(mark.scan, *scan), _latest(mark.web, web))
    try:
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(path, json.dumps(vars(new)))
    except (OSError, WriteError) as error:
        return (
            f"the study cannot be recognised as yours later: {printable(error)}; `innersight view` will ask for "
            "--model and --images, or set INNERSIGHT_STATE to a folder that can be written"
        )
    return None


def own_identity(inside: StudyFolder) -> None:
    """Give a study an identity of its own where it brought one that is not known here."""
    if mark_of(inside) == Mark():
        index.renew(inside)


def mark_of(inside: StudyFolder) -> Mark:
    """Return what is remembered of a study; an empty mark where nothing is."""
    name = index.identity(inside)
    try:
        found = parsed(_path(name).read_bytes(), _path(name))
        study, scan, web = (found[key] for key in ("study", "scan", "web"))
        return Mark(tuple(study), tuple((digest, where) for digest, where in scan), tuple(web))
    # What was never written, cannot be read, or is damaged, is not known.
    except (OSError, InnersightError, TypeError, ValueError, LookupError):
        return Mark()


def _latest(known: tuple[T, ...], *new: T | None) -> tuple[T, ...]:
    added = [one for one in new if one is not None]
    return tuple([*(one for one in known if one not in added), *added][-KEPT:])


class Names:
    """The names of the images of a scan in their order, as a digest that grows with them."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hash = hashlib.sha256()
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Take more names in."""
        for name in names:
            self._hash.update(json.dumps(name).encode() + b"\n")

    def digest(self) -> str:
        """Return what tells these names from any others."""
        return self._hash.hexdigest()


def scanned_names(inside: StudyFolder) -> Names:
    """Return the names of all images of the scan in the study's folder."""
    with index.reading(inside) as db:
        if not index.has(db, "scan_images"):
            return Names()
        return Names(str(row[0]) for row in db.execute("SELECT name FROM scan_images ORDER BY number"))


def _digest(parts: Sequence[str | None]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def _state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(os.environ.get("INNERSIGHT_STATE") or Path(base) / "innersight")


def _path(name: str | None) -> Path:
    if name is None or not re.fullmatch(r"[0-9a-f]{32}", name):
        raise FileNotFoundError(f"a study without an identity: {printable(name)}")
    return _state() / "studies" / f"{name}.json"


def _document(inside: StudyFolder, key: str, text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise InnersightError(f"{inside.folder / index.INDEX}, item {key!r}: no document; make the study again")
    return parsed(text, f"{inside.folder / index.INDEX}, item {key!r}")


def _inside_itself(claims: Claims, inside: StudyFolder) -> bool:
    """Say whether a network runs code that may lie in the study's own folder, where whoever had it can change it."""
    origin, _, name = claims.source.partition(":")
    if origin not in _RUNS and "module=" not in claims.source:
        return False
    folder = inside.folder.resolve()
    where = Path(claims.where).resolve()
    if where.is_relative_to(folder):
        return True
    words = re.split(r"[:?&=]", name)[: 1 if origin == "python" else None]
    return any(where.joinpath(*word.split(".")).resolve().is_relative_to(folder) for word in words if word)


def _warning(source: str) -> str:
    runs = source.partition(":")[0] in _RUNS or "module=" in source
    return ", which runs Python code of that name" if runs else ""


def _files(given: Path) -> Iterable[Path]:
    """Yield the file named, or those in the folder named and below it; links in there are not followed."""
    if given.is_file():
        yield given
        return
    for folder, _, names in os.walk(given):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _agreeing(parts: Sequence[str], claimed: Sequence[str]) -> int:
    """Return how many parts of two paths are the same, from the end on."""
    pairs = zip(reversed(parts), reversed(claimed), strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(claimed)))
