"""The receptive field of each layer, as measured on the network."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


def _measured(context: "StudyContext") -> Outcome:
    from dataclasses import asdict

    from innersight.receptive_field import receptive_fields

    return {name: asdict(found) for name, found in receptive_fields(context.model, context.plan.layers).items()}, {}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    item = reader.item("receptive-field")
    return {"field": item.document.get(row.get("reads", row["name"])) if item else None}


@panels.register("Receptive field", order=50, layer=_layer)
def receptive_field(context: "StudyContext") -> Iterator[StudyTask]:
    """The receptive field of a unit of each of the plan's layers."""
    settings = {**context.base, "layers": list(context.plan.layers)}
    passes = 8.0 * len(context.plan.layers)
    yield StudyTask(Key("receptive-field"), settings, partial(_measured, context), passes)
