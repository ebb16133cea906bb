"""What an audit keeps in a study while it runs, so that an interrupted one resumes, and what it leaves there."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight.model import Model
from innersight.storage.store import Store

if TYPE_CHECKING:
    from innersight.audit.result import Audit

Values = tuple[dict[str, Any], dict[str, Tensor]]
PREFIX = "audit/"  # begins the keys of pieces


class Keep:
    """Keeps nothing: of an audit without a study."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept."""
        yield

    def has(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Return whether a piece is kept already."""
        return False

    def piece(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Values]) -> Values:
        """Return what `compute` returns, plain data and tensors, computed once for a name and its settings."""
        return compute()

    def finish(self, audit: "Audit") -> None:
        """Leave the findings."""


class StudyKeep(Keep):
    """Keeps pieces and findings in the folder of a study."""

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        self._store, self._settings = store, settings

    @classmethod
    def open(cls, folder: str | Path, model: Model, settings: Mapping[str, Any]) -> "StudyKeep":
        """Open the study in a folder, made where it is not there. Raises InnersightError where that cannot be."""
        return cls(Store.create(folder), {**settings, "model": model.digest()})

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept; no other process works on the study."""
        with self._store.locked():
            yield

    def has(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Return whether a piece is kept already."""
        return self._store.done(PREFIX + name, {**self._settings, **settings})

    def piece(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Values]) -> Values:
        """Return what `compute` returned in this or in an earlier run with the same settings."""
        key, own = PREFIX + name, {**self._settings, **settings}
        if not self._store.done(key, own):
            started = time.perf_counter()
            document, tensors = compute()
            self._store.put(key, own, document, tensors, time.perf_counter() - started)
        item = self._store.get(key)
        assert item is not None
        return item.document, item.tensors()
