"""What an atlas keeps in a study while it is made, so that an interrupted one resumes, and what it leaves there."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import torch
from torch import Tensor

from innersight import __version__
from innersight.atlas.packing import packed
from innersight.model import Model
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.storage.study_folder import written_by_innersight
from innersight.vectors import VectorSample

if TYPE_CHECKING:
    from innersight.atlas.result import Atlas

PANEL = "atlas"
PLACES = "places"
FOLDER = "atlas"  # of the patterns that are finished


class AtlasKeep:
    """Keeps nothing: of an atlas without a study."""

    folder: Path | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept."""
        yield

    def places(self, sample: VectorSample, settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """Return the places of a sample's vectors, computed once for the sample and the settings."""
        return compute()

    def finish(self, atlas: "Atlas") -> None:
        """Leave the atlas."""


class StudyAtlasKeep(AtlasKeep):
    """Keeps places, patterns and the atlas in the folder of a study."""

    def __init__(self, store: Store, model: str, layer: str) -> None:
        self._started = time.perf_counter()
        self._store, self._model, self._layer = store, model, layer
        self.folder = store.inside.path(FOLDER, quote(layer, safe=""))

    @classmethod
    def open(cls, folder: str | Path, model: Model, layer: str) -> "StudyAtlasKeep":
        """Open the study in a folder, made where it is not there.

        Raises InnersightError where that cannot be, and where it is the study of another network.
        """
        digest = model.digest(concepts=False)
        return cls(Store.of_network(folder, digest), digest, layer)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, pieces are kept; no other process works on the study."""
        with self._store.locked():
            yield

    def places(self, sample: VectorSample, settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """Return the places of a sample's vectors, from an interrupted run with the same sample and settings."""
        content = hashlib.sha256(sample.vectors.numpy().tobytes()).hexdigest()[:20]
        known = {"model": self._model, "version": __version__, "sample": content, **settings}
        key = str(Key(PANEL, self._layer, PLACES))
        if not self._store.done(key, known):
            self._store.put(key, known, {}, {PLACES: compute()}, 0.0)
        item = self._store.get(key)
        assert item is not None
        with written_by_innersight(f"{self._store.folder}, item {key!r}"):
            found = item.tensors()[PLACES]
            if found.shape != (len(sample), 2) or found.dtype != torch.float32:
                raise ValueError(f"places are {found.dtype} {tuple(found.shape)}")
            return found

    def finish(self, atlas: "Atlas") -> None:
        """Leave the atlas, and forget the pieces."""
        document, tensors = packed(atlas)
        seconds = time.perf_counter() - self._started
        self._store.put(str(Key(PANEL, self._layer)), {"model": self._model}, document, tensors, seconds)
        own = str(Key(PANEL, self._layer, PLACES))
        self._store.drop_others({key for key in self._store.names() if key != own})
        self._store.inside.clear(FOLDER, quote(self._layer, safe=""))
