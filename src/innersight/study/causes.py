"""What the units of the last layers do to the classes: ablation, small enough to be part of every study."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from innersight.ablation import DEFINITION, ablate
from innersight.image import Picture
from innersight.model import Model

LAYERS = 2
DIGITS = 4


def ablation(model: Model, pictures: Sequence[Picture], layer: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the predicted classes lose when each unit of `layer` is set to zero; see `innersight.ablate`.

    classes : up to 6 that pictures are taken for, with the mean change (units,) over these pictures and a note on them.
    own : per picture, the change (units,) of the class it is taken for.
    """
    found = ablate(model, pictures, layer)
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


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]
