"""The sets of concepts of a study: those that `innersight concepts` left in it, and one that the study finds itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.concepts.keep import KeptConcepts, is_set, read_set
from innersight.layers import has_grid, last_rectified, survey
from innersight.model import Model
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.study.scanned import scan_settings, scanned_files

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.study.context import StudyContext

NAME = "nmf"
"""How the study's own set is found, and its name."""
LIMIT = 500
"""Images of a scan, at most, over which the study's own set is found."""
LEAST = 20
"""With fewer files of a scan it is found over the study's images."""
VECTORS = 4
"""Activation vectors for each concept, at least."""


def key_of(address: str) -> Key:
    """Return the key of the item that holds a set.

    >>> key_of("stage4~nmf")
    Key(panel='concepts', layer='stage4', part='nmf', image='')
    """
    layer, _, name = address.rpartition("~")
    return Key("concepts", layer, name)


def sets_of(context: "StudyContext", *, planned: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the study's sets of concepts, by their addresses.

    planned : those that a run of the study keeps, and the one that it is going to find; otherwise those that are there.
    """
    found: dict[str, dict[str, Any]] = {}
    own = set()
    for key, settings in context.left(is_set):
        address = f"{key.layer}~{key.part}"
        found[address] = settings
        if "default" in settings:
            own.add(address)
    if planned:
        found = {address: settings for address, settings in found.items() if address not in own}
        given = {one.layer for one in context.model.inserted}
        found |= _own(context, given | {key_of(address).layer for address in found})
    return found


def _own(context: "StudyContext", known: set[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of the set that a study finds itself; nothing where it holds one of the layer, or cannot."""
    model, plan = context.model, context.plan
    if not plan.concepts or not has_grid(model) or last_rectified(model) in known:
        return {}
    layer = next(one for one in survey(model) if one.name == last_rectified(model))
    files = _files(context)
    images = len(files) or len(context.images)
    count = min(plan.concepts, layer.units, images * layer.grid[0] * layer.grid[1] // VECTORS)
    if images < 2 or count < 2:
        return {}
    scan = scan_settings(context.store) if files else None
    about = {"count": count, "images": images, "scan": scan, "seed": plan.seed}
    base = {name: value for name, value in context.base.items() if name != "images" or not files}
    return {f"{layer.name}~{NAME}": {**base, "default": about}}


def _files(context: "StudyContext") -> tuple[Path, ...]:
    found = scanned_files(context.store, context.permit, context.base["model"], LIMIT, context.plan.seed)
    return found if len(found) >= LEAST else ()


def images_of(context: "StudyContext") -> "tuple[Path | Image, ...]":
    """Return the images over which the study's own set is found."""
    return _files(context) or tuple(context.images)


def layered(model: Model, store: Store, address: str) -> Model:
    """Return a network with a set of concepts of a study.

    Raises InnersightError where the study does not hold it, where it is damaged, and for one of another network.
    """
    return model.with_concepts(KeptConcepts((read_set(store, str(key_of(address))),)))


def state_of(store: Store, address: str) -> str:
    """Return what distinguishes one state of a set in a study from another."""
    text = str(key_of(address))
    return json.dumps([text, store.settings(text)], sort_keys=True)
