"""The pattern that each unit has learned."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels, units_of
from innersight.study.request import UnitsRequest, units_key

if TYPE_CHECKING:
    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


class PatternsRequest(UnitsRequest):
    """The patterns of some units of a layer, drawn with the settings of the study's plan."""

    kind: Literal["patterns"]

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield patterns in small batches. The pattern of a unit does not depend on the others of its batch."""
        from innersight.study.drawing import passes_of, settings_of

        for units in self.batches():
            make, passes = (
                partial(drawn, context, self.layer, units),
                passes_of(context, len(units), context.plan.steps, self.layer),
            )
            yield StudyTask(units_key("patterns", self.layer, units), settings_of(context, self.layer), make, passes)


def _ranked(context: "StudyContext", layer: str, span: range) -> Outcome:
    """Draw the units at the ranks `span` of the layer's ranking."""
    from innersight.study.drawing import ranked

    order = ranked(context, layer)
    return drawn(context, layer, [order[i] for i in span])


def drawn(context: "StudyContext", layer: str, units: Sequence[int]) -> Outcome:
    """Return patterns of units of a layer, and what the other seeds drew."""
    import torch

    from innersight.address import Address
    from innersight.study.drawing import draw, kept

    found = draw(context, [Address(layer, unit) for unit in units], context.plan.steps, layer)
    document, tensors = kept(found)
    if context.plan.seeds > 1:
        others = [
            [one for j, one in enumerate(own) if j != best] for own, best in zip(found.every, found.best, strict=True)
        ]
        tensors["others"] = torch.stack([torch.stack(own) for own in others])
    return {"units": list(units), **document}, tensors


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    from innersight.study.drawing import joined

    return {"patterns": joined(reader, files, reader.items("patterns", row["name"]))}


def select_units(found: dict[str, Any] | None, chosen: Selection) -> dict[str, Any] | None:
    """Return drawn units for a selection; None where none of them is chosen."""
    if found is None or chosen.units is None:
        return found
    kept = chosen.indices(found["units"])
    if not kept:
        return None
    own = {**found, "sheet": chosen.cut(found["sheet"], kept)}
    own |= {key: [found[key][i] for i in kept] for key in ("units", "score")}
    for name, count in (("others", "each"), ("growth", "stages")):
        if more := found.get(name):
            each = more[count] if count == "each" else len(more[count])
            own[name] = {**more, "sheet": chosen.cut(more["sheet"], [i * each + j for i in kept for j in range(each)])}
    return own


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {"patterns": select_units(document["patterns"], chosen)}


def _how(reader: "StudyReader") -> str:
    plan = reader.plan
    return (
        f"Activation maximization: starting from random pixels, up to {plan['steps']} steps of Adam raise the mean of "
        "the unit's activation map (twice as many steps raise a class logit) under small random shifts, rotations and "
        f"zooms. Of {plan['seeds']} random starts from seed {plan['seed']}, the pattern with the highest response is "
        "shown. Score: the peak activation on the finished pattern, and that value divided by the highest on the "
        "images of this study."
    )


def _export(reader: "StudyReader", content: "Content") -> None:
    import math

    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    from innersight.render.colour import as_colour
    from innersight.study.content import POOLED, Points, sheet_of

    for layer in reader.layer_names():
        maps, drawn = reader.item("activations", layer), reader.items("patterns", layer)
        if maps is None or not drawn:
            continue
        images = as_colour(torch.cat([part.tensors()["images"] for part in drawn]), reader.shown)
        units = [int(unit) for part in drawn for unit in part.document["units"]]
        ratios = [score["ratio"] for part in drawn for score in part.document["score"]]
        content.sheets[f"patterns/{layer}"] = sheet_of(images)
        known = [ratio for ratio in ratios if ratio is not None and math.isfinite(ratio)]
        content.values[f"pattern ratio/{layer}"] = torch.tensor(known)
        pooled = adaptive_avg_pool2d(maps.tensors()["activations"], POOLED).transpose(0, 1).flatten(1)
        content.points[layer] = Points(pooled[units], [f"{layer}:{unit}" for unit in units], images)


@panels.register(
    "Patterns",
    order=100,
    requests=(PatternsRequest,),
    per="unit",
    counted=units_of,
    missing="Patterns were not requested, or the study has not computed them yet.",
    how=_how,
    layer=_layer,
    select=_select,
    export=_export,
)
def patterns(context: "StudyContext") -> Iterator[StudyTask]:
    """Patterns of the best ranked units of the plan's layers."""
    from innersight.study.drawing import CHUNK, passes_of, settings_of

    known = context.surveyed()
    for layer in context.plan.layers:
        count = min(context.plan.units, known[layer].units)
        for start in range(0, count, CHUNK):
            span = range(start, min(start + CHUNK, count))
            settings = {**settings_of(context), "count": len(span)}
            make, passes = (
                partial(_ranked, context, layer, span),
                passes_of(context, len(span), context.plan.steps, layer),
            )
            yield StudyTask(Key("patterns", layer, str(start)), settings, make, passes)
