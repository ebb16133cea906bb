"""Patterns that inhibit a unit: images that lower it most."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels, units_of
from innersight.study.panels.patterns import select_units
from innersight.study.request import UnitsRequest, units_key

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


class NegativesRequest(UnitsRequest):
    """The images that lower some units of a layer most, drawn with the settings of the study's plan."""

    kind: Literal["negatives"]

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield them in small batches, each of which is kept once it is finished."""
        from innersight.study.drawing import passes_of, settings_of

        for units in self.batches():
            make, passes = (
                partial(_drawn, context, self.layer, units),
                passes_of(context, len(units), context.plan.steps, self.layer),
            )
            yield StudyTask(units_key("negatives", self.layer, units), settings_of(context, self.layer), make, passes)


def _ranked(context: "StudyContext", layer: str, count: int) -> Outcome:
    from innersight.study.drawing import ranked

    return _drawn(context, layer, ranked(context, layer)[:count])


def _drawn(context: "StudyContext", layer: str, units: Sequence[int]) -> Outcome:
    from innersight.address import Address
    from innersight.study.drawing import draw, kept

    found = draw(context, [f"-{Address(layer, unit)}" for unit in units], context.plan.steps, layer)
    document, tensors = kept(found)
    return {"units": list(units), **document}, tensors


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    from innersight.study.drawing import joined

    return {"negatives": joined(reader, files, reader.items("negatives", row["name"]))}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {"negatives": select_units(document["negatives"], chosen)}


@panels.register(
    "Inhibiting patterns",
    order=130,
    requests=(NegativesRequest,),
    per="unit",
    counted=units_of,
    layer=_layer,
    select=_select,
)
def negatives(context: "StudyContext") -> Iterator[StudyTask]:
    """Negative patterns of the best ranked units of the plan's layers."""
    from innersight.study.drawing import passes_of, settings_of

    count = min(context.plan.negatives, context.plan.units)
    for layer in context.plan.layers if count else ():
        settings = {**settings_of(context), "count": count}
        make, passes = partial(_ranked, context, layer, count), passes_of(context, count, context.plan.steps, layer)
        yield StudyTask(Key("negatives", layer, "0"), settings, make, passes)
