"""What an audit keeps in a study while it runs, so that an interrupted one resumes, and what it leaves there."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight import __version__
from innersight.audit.packing import packed
from innersight.model import Model
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight

if TYPE_CHECKING:
    from innersight.audit.reading import Table
    from innersight.audit.result import Audit

Values = tuple[dict[str, Any], dict[str, Tensor]]
PREFIX = "audit/"  # begins the keys of pieces
FINDINGS = "findings"  # the key of what an audit leaves


class Keep:
    """Keeps nothing: of an audit without a study. taken : passes that the audit has taken, counted by its subject."""

    def __init__(self) -> None:
        self.taken = [0]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept."""
        yield

    def has(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Return whether a piece is kept already."""
        return False

    def depend(self, table: "Table", settings: Mapping[str, Any]) -> None:
        """Take note of the images that were read and of settings: what was made from others does not count."""

    def piece(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Values]) -> Values:
        """Return what `compute` returns, plain data and tensors, computed once for a name and its settings."""
        return compute()

    def leave(self, name: str, settings: Mapping[str, Any], values: Values, passes: int) -> None:
        """Keep a piece that was computed already. passes : that it took."""

    def finish(self, audit: "Audit") -> None:
        """Leave the findings."""


class StudyKeep(Keep):
    """Keeps pieces and findings in the folder of a study. model : the digest of the network."""

    def __init__(self, store: Store, model: str) -> None:
        super().__init__()
        self._started = time.perf_counter()
        self._store, self._settings = store, {"model": model, "version": __version__}

    @classmethod
    def open(cls, folder: str | Path, model: Model) -> "StudyKeep":
        """Open the study in a folder, made where it is not there.

        Raises InnersightError where that cannot be, and where it is the study of another network.
        """
        digest = model.digest(concepts=False)
        return cls(Store.of_network(folder, digest), digest)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept; no other process works on the study."""
        with self._store.locked():
            yield

    def has(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Return whether a piece is kept already."""
        return self._store.done(PREFIX + name, {**self._settings, **settings})

    def depend(self, table: "Table", settings: Mapping[str, Any]) -> None:
        """Take note of the images that were read and of settings: what was made from others does not count."""
        seen = zip(table.names, table.digests, table.classes.tolist(), strict=True)
        images = hashlib.sha256(repr(list(seen)).encode()).hexdigest()[:20]
        self._settings = {**self._settings, **settings, "images": images}

    def piece(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Values]) -> Values:
        """Return what `compute` returned in this or in an earlier run with the same settings."""
        if not self.has(name, settings):
            before = self.taken[0]
            values = compute()
            self.leave(name, settings, values, self.taken[0] - before)
            return values
        item = self._store.get(PREFIX + name)
        assert item is not None
        with written_by_innersight(f"{self._store.folder}, item {PREFIX + name!r}"):
            # As many as the interrupted audit took: what is left of the budget is the same.
            self.taken[0] += int(item.document["passes"])
            return dict(item.document["document"]), item.tensors()

    def leave(self, name: str, settings: Mapping[str, Any], values: Values, passes: int) -> None:
        """Keep a piece that was computed already. passes : that it took."""
        document, tensors = values
        kept = {"passes": passes, "document": document}
        self._store.put(PREFIX + name, {**self._settings, **settings}, kept, tensors, 0.0)

    def finish(self, audit: "Audit") -> None:
        """Leave the findings, and forget the pieces."""
        document, tensors = packed(audit.findings)
        stated = audit.to_json()
        rows = [
            {**row, "images": short["images"], "paths": [_place(name) for name in short["images"]]}
            for row, short in zip(document["findings"], stated["findings"], strict=True)
        ]
        seconds = time.perf_counter() - self._started
        self._store.put(FINDINGS, {"model": self._settings["model"]}, {**stated, "findings": rows}, tensors, seconds)
        self._store.drop_others({key for key in self._store.names() if not key.startswith(PREFIX)})


def _place(name: str) -> str | None:
    """Return where an image lies, None for one that is no file."""
    path = Path(name)
    return str(path.resolve()) if path.is_file() else None


def state_of(given: Any) -> str | None:
    """Return what distinguishes one state of files from another, by names, sizes and times; None for anything else."""
    paths = [given] if isinstance(given, str | Path) else given
    if not isinstance(paths, list | tuple) or not all(isinstance(one, str | Path) for one in paths):
        return None
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            about = file.stat()
            digest.update(repr((str(file.absolute()), about.st_size, about.st_mtime_ns)).encode())
    return digest.hexdigest()[:20]
