"""The record of the training that made the network."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels, unless_units

if TYPE_CHECKING:
    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

RECORD = "telemetry.json"
CURVES = ("weight_norm", "gradient_norm", "update_ratio", "dead")


def _recorded(run: Path) -> Outcome:
    from innersight.sources.run_card import read_card
    from innersight.storage.bounded import read_json

    telemetry = read_json(run / RECORD, what="training record")
    if not isinstance(telemetry, dict):
        raise InnersightError(f"{run}: {RECORD} is no training record")
    card = read_card(run)
    return {**telemetry, "metrics": card.metrics, "recipe": card.recipe, "labels": card.labels}, {}


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    document = reader.items("training")[0].document
    order = {row["name"]: number for number, row in enumerate(reader.model.document["layers"])}
    layers = sorted(document.get("layers", {}).items(), key=lambda named: order.get(named[0], len(order)))
    return {**document, "layers": dict(layers)}


def _export(reader: "StudyReader", content: "Content") -> None:
    item = reader.item("training")
    if item is None:
        return
    curves = {name: (found["step"], found["value"]) for name, found in item.document["scalars"].items()}
    for layer, found in item.document["layers"].items():
        curves |= {f"{kind}/{layer}": (found["step"], found[kind]) for kind in CURVES if kind in found}
    for name, (steps, values) in curves.items():
        known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        content.curves[name] = [step for step, _ in known], [value for _, value in known]


@panels.register(
    "Training",
    order=90,
    missing="This network was not trained with `innersight train`, so there is no training record.",
    how="Recorded during training: the curves, and statistics of the weights and gradients of every layer at each "
    "recorded step.",
    document=_document,
    select=unless_units,
    export=_export,
)
def training(context: "StudyContext") -> Iterator[StudyTask]:
    """The record of the training, where the network comes with one."""
    run = context.model.run
    if run is not None and (run / RECORD).is_file():
        yield StudyTask(Key("training"), context.base, partial(_recorded, run))
