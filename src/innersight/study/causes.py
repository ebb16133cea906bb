"""What units do to the classes and to one another: ablation and connections, small enough to be part of every study."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from innersight.ablation import DEFINITION, ablate
from innersight.connections import DEFINITION as CONNECTED
from innersight.connections import Connections, Link, connections
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.model import Model

LAYERS = 2
DIGITS = 4
STRONGEST = 8


def ablation(model: Model, images: Sequence[Image], layer: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the predicted classes lose when each unit of `layer` is set to zero; see `innersight.ablate`.

    classes : up to 6 that images are taken for, with the mean change (units,) over these images and a note on them.
    own : per image, the change (units,) of the class it is taken for. why : only where nothing could be computed.
    """
    try:
        found = ablate(model, images, layer)
    except InnersightError as error:
        # A study goes on without; its pages say why.
        return {
            "to": "zero",
            "unit": model.head.unit,
            "definition": DEFINITION,
            "closed": False,
            "classes": [],
            "own": {},
            "why": str(error),
        }, {}
    best = found.logits.argmax(1).tolist()
    classes = []
    for label in found.shown():
        number = model.class_index(label)
        mean = found.change[found.rows(number), :, number].mean(0)
        classes.append({"class": number, "label": label, "note": found.note(number), "mean": _rounded(mean)})
    own = {
        f"p{i}": {"class": number, "label": model.labels[number], "change": _rounded(found.change[i, :, number])}
        for i, number in enumerate(best)
    }
    return {
        "to": found.to, "unit": model.head.unit, "definition": DEFINITION, "closed": found.closed, "classes": classes,
        "own": own,
    }, {}  # fmt: skip


def connected(
    model: Model, images: Sequence[Image], layer: str, units: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the strongest connections of units of `layer`; see `innersight.connections`.

    links : {direction "in" or "out", by "weight" or "attribution", layer, title}, where the layer is "class" for the
    classes and "input" for the image's bands. rows : for each unit and link, up to 8 of {unit, value, share}.
    """
    try:
        found = connections(model, f"{layer}:{','.join(map(str, units))}", images)
    except InnersightError as error:
        # A study goes on without.
        return {
            "definition": CONNECTED,
            "notes": [str(error)],
            "links": [],
            "units": list(units),
            "rows": [[]] * len(units),
        }, {}
    return {
        "definition": CONNECTED,
        "notes": list(found.notes),
        "links": [
            {"direction": link.direction, "by": link.by, "layer": link.layer, "title": str(link)}
            for link in found.links
        ],
        "units": list(units),
        "rows": [[_strongest(found, link, unit) for link in found.links] for unit in units],
    }, {}


def _strongest(found: Connections, link: Link, unit: int) -> list[dict[str, Any]]:
    return [
        {"unit": row["unit"], **dict(zip(("value", "share"), _rounded([row["value"], row["share"]]), strict=True))}
        for row in found.rank(link, unit, STRONGEST)
    ]


def _rounded(values: "Tensor | Sequence[float]") -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in np.asarray(values, float).tolist()]
