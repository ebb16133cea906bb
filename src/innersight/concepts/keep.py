"""Concepts in the folder of a study, and back: what a study holds of them, so that its addresses are known."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight.concepts.crops import crops_of
from innersight.errors import InnersightError, printable
from innersight.factorizations import Factorization
from innersight.model import Model
from innersight.storage.key import Key
from innersight.storage.store import Item, Store
from innersight.storage.study_folder import written_by_innersight
from innersight.tap import ConceptLayer

if TYPE_CHECKING:
    from innersight.concepts.result import Concepts

PANEL = "concepts"


@dataclass(frozen=True, eq=False)
class KeptConcepts:
    """The sets of concepts of a study, as `read_concepts` returns them.

    Attributes
    ----------
    sets : tuple of (str, str, Factorization, str)
        Layer, name and factorization of each, and the digest of the network that it was found in.

    """

    sets: tuple[tuple[str, str, Factorization, str], ...]

    def inserted(self) -> Iterable[ConceptLayer]:
        """Return each set as a layer, see `innersight.Model.with_concepts`."""
        return self._layers

    @cached_property
    def _layers(self) -> tuple[ConceptLayer, ...]:
        return tuple(ConceptLayer.of(name, layer, fitted, digest) for layer, name, fitted, digest in self.sets)


def read_concepts(folder: str | Path) -> KeptConcepts:
    """Return the concepts that a study holds.

    Parameters
    ----------
    folder
        The study's folder.

    Returns
    -------
    KeptConcepts
        To be given to functions as `concepts=`.

    Raises
    ------
    InnersightError
        Where there is no study, one without concepts, or a damaged one.

    Examples
    --------
    >>> import tempfile
    >>> import innersight as ins
    >>> from innersight.concepts import read_concepts
    >>> from innersight.toons import Drawn
    >>> model, images = ins.load("toon"), Drawn(per_class=2)
    >>> with tempfile.TemporaryDirectory() as study:
    ...     made = ins.concepts(model, images, layer="stage4", count=4, out=study)
    ...     kept = read_concepts(study)
    >>> [layer.name for layer in kept.inserted()]
    ['stage4~nmf']

    """
    store = Store.open(folder)
    keys = [key for key in store.names() if is_set(Key.parse(key))]
    if not keys:
        raise InnersightError(
            f"{printable(folder)} holds no concepts: find some by `innersight concepts MODEL FOLDER --out STUDY`"
        )
    return KeptConcepts(tuple(read_set(store, key) for key in keys))


def is_set(key: Key) -> bool:
    """Say whether an item is a set of concepts: `concepts/LAYER/NAME`."""
    return key.panel == PANEL and bool(key.layer) and bool(key.part) and "/" not in key.part and not key.image


def factorization_of(item: Item) -> Factorization:
    """Return the factorization of an item of a study. Raises what a damaged one raises: see `written_by_innersight`."""
    named = item.tensors()
    own = {name.partition("/")[2]: value for name, value in named.items() if name.startswith("factorization/")}
    return Factorization.of(item.document["factorization"], own)


def read_set(store: Store, key: str) -> tuple[str, str, Factorization, str]:
    """Return layer, name, factorization and the digest of the network of the set that an item of a study holds.

    Raises InnersightError where it is not there, or damaged.
    """
    item, parsed = store.get(key), Key.parse(key)
    if item is None:
        raise InnersightError(f"{store.folder}: {printable(key)} is gone: run `innersight concepts` again")
    with written_by_innersight(f"{store.folder}, item {printable(key)}"):
        return parsed.layer, parsed.part, factorization_of(item), str(item.document["digest"])


class ConceptKeep:
    """Keeps one set of concepts in the folder of a study."""

    def __init__(self, store: Store, key: Key) -> None:
        self._store, self._key, self._started = store, key, time.perf_counter()

    @classmethod
    def open(cls, folder: str | Path, model: Model, layer: str, name: str, *, overwrite: bool) -> "ConceptKeep":
        """Open the study in a folder, made where it is not there.

        Raises InnersightError where that cannot be, where it is the study of another network, and where it holds a set
        of that name that is not to be replaced.
        """
        digest, key = model.digest(concepts=False), Key(PANEL, layer, name)
        store = Store.of_network(folder, digest)
        # A folder that holds concepts only states no network of its own.
        for item in store.items() if store.get("model") is None else ():
            if is_set(Key.parse(item.key)) and item.key != str(key):
                store.check_network(item, digest)
        settings = store.settings(str(key))
        # One that a study found by itself gives way.
        if not overwrite and settings is not None and "default" not in settings:
            raise InnersightError(
                f"{printable(folder)} holds concepts {layer}~{name} already: choose another name (--name), or replace "
                "them (--overwrite)"
            )
        return cls(store, key)

    def put(self, found: "Concepts") -> None:
        """Keep the set, with crops of its examples."""
        with self._store.locked():
            settings, document, tensors = packed(found)
            # What was computed of another set of this name.
            self._store.drop_others({name for name in self._store.names() if not _follows(Key.parse(name), self._key)})
            self._store.put(str(self._key), settings, document, tensors, time.perf_counter() - self._started)


def _follows(key: Key, kept: Key) -> bool:
    """Say whether an item was computed from a set, or is one of its name. kept : the key of the set."""
    own = key.panel == PANEL and key.layer == kept.layer and key.part.partition("/")[0] == kept.part
    return own or key.layer == f"{kept.layer}~{kept.part}"


def packed(found: "Concepts") -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Return settings, document and tensors of the item that holds a set."""
    stated, own = found.factorization.state()
    cut = crops_of(found)
    directions = found.factorization.directions
    settings = {"model": found.digest, "concepts": hashlib.sha256(directions.numpy().tobytes()).hexdigest()[:16]}
    tensors = {f"factorization/{name}": value for name, value in own.items()}
    if cut.rows:
        tensors |= {"crops": torch.from_numpy(cut.pixels), "masks": torch.from_numpy(cut.masks)}
    document = {
        **found.to_json(),
        "digest": found.digest,
        "factorization": stated,
        "examples": cut.rows,
        "lost": list(cut.lost),
    }
    return settings, document, tensors
