"""How far the heatmap methods of a study can be trusted, on the data set scanned into it or on its images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from innersight.errors import InnersightError
from innersight.image import Image
from innersight.model import Model
from innersight.scan.ledger import Ledger, Record
from innersight.storage.permit import Permit
from innersight.study.ask import Scene
from innersight.study.scanned import scan_settings
from innersight.trust import trust

LEAST = 10
"""With fewer images the tests of four methods cannot give any verdict; see `Trust.needed`."""


def sources(scene: Scene, most: int, seed: int) -> "tuple[Path, ...] | tuple[Image, ...]":
    """Return what trust is measured on: files of the scan drawn at random, or the study's images; none where few."""
    images, store = scene.images, scene.store
    scanned = scan_settings(store)
    if scanned is not None and scanned.get("model") == scene.model.digest():
        # Some may be broken, members of an archive, gone, or named by somebody else.
        drawn = np.random.default_rng(seed).permutation(scanned["done"])[: 2 * most].tolist()
        records = Ledger(store).records(drawn)
        found = [_file(scene.permit, records[i]) for i in drawn if i in records and not records[i].broken]
        files = [file for file in found if file is not None and file.is_file()][:most]
        if len(files) >= LEAST:
            return tuple(files)
    return tuple(images) if len(images) >= LEAST else ()


def _file(permit: Permit, record: Record) -> Path | None:
    try:
        name, where = permit.scanned(record.name)
    except InnersightError:
        # Not one to be read: trust is measured on the others.
        return None
    return Path(where, name)


def trusted(
    model: Model, given: "Sequence[Path] | Sequence[Image]", methods: Sequence[str], most: int, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the sentence, the note, and for each method its standing and why; see `trust`.

    Where they cannot be tested on this network or these images, the sentence says so: a study goes on without.
    """
    try:
        found = trust(model, given, methods, max_images=most, seed=seed)
    except InnersightError as error:
        sentence = f"The methods could not be tested: {error}"
        return {"sentence": sentence, "note": "", "images": 0, "methods": {}, "left_out": []}, {}
    return {
        "sentence": found.sentence,
        "note": found.note,
        "images": len(found.images),
        "methods": {name: {"standing": found.standing(name), "why": found.verdict(name)} for name in found.methods},
        "left_out": list(found.left_out),
    }, {}
