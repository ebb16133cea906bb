"""How far the heatmap methods of a study can be trusted, on the data set scanned into it or on its pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from innersight.errors import InnersightError
from innersight.image import Picture
from innersight.model import Model
from innersight.scan.ledger import Ledger
from innersight.store import Store
from innersight.study.scanned import scan_settings
from innersight.trust import trust

LEAST = 10
"""With fewer pictures the tests of four methods cannot give any verdict; see `Trust.needed`."""


def sources(
    model: Model, pictures: Sequence[Picture], store: Store, most: int, seed: int
) -> "tuple[Path, ...] | tuple[Picture, ...]":
    """Return what trust is measured on: files of the scan drawn at random, or the study's pictures; none where few."""
    scanned = scan_settings(store)
    if scanned is not None and scanned["model"] == model.digest():
        # Some may be broken, members of an archive, or gone.
        drawn = np.random.default_rng(seed).permutation(scanned["done"])[: 2 * most].tolist()
        records = Ledger(store).records(drawn)
        files = [Path(records[i].name) for i in drawn if i in records and not records[i].broken]
        files = [file for file in files if file.is_file()][:most]
        if len(files) >= LEAST:
            return tuple(files)
    return tuple(pictures) if len(pictures) >= LEAST else ()


def trusted(
    model: Model, given: "Sequence[Path] | Sequence[Picture]", methods: Sequence[str], most: int, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the sentence, the note, and for each method its standing and why; see `trust`.

    Where they cannot be tested on this network or these pictures, the sentence says so: a study goes on without.
    """
    try:
        found = trust(model, given, methods, most=most, seed=seed)
    except InnersightError as error:
        sentence = f"The methods could not be tested: {error}"
        return {"sentence": sentence, "note": "", "pictures": 0, "methods": {}, "left_out": []}, {}
    return {
        "sentence": found.sentence,
        "note": found.note,
        "pictures": len(found.pictures),
        "methods": {name: {"standing": found.standing(name), "why": found.verdict(name)} for name in found.methods},
        "left_out": list(found.left_out),
    }, {}
