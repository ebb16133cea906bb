"""Which units drive a unit, and which it drives."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, panels, units_of
from innersight.study.request import UnitsRequest, units_key

if TYPE_CHECKING:
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

DIGITS = 4
STRONGEST = 8


class ConnectionsRequest(UnitsRequest):
    """Which units of the layers beside it drive some units of a layer, and which they drive, over all images."""

    kind: Literal["connections"]

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield one item for all of the units."""
        units = tuple(dict.fromkeys(self.units))
        make, passes = partial(_connected, context, self.layer, units), _passes(context, len(units))
        yield StudyTask(units_key("connections", self.layer, units), context.about(self.layer), make, passes)


def _passes(context: "StudyContext", units: int) -> float:
    # A backward pass for each unit into the layer, and half a double one out of it.
    return 15.0 * units * len(context.images)


def _ranked(context: "StudyContext", layer: str, count: int) -> Outcome:
    from innersight.study.drawing import ranked

    return _connected(context, layer, ranked(context, layer)[:count])


def _connected(context: "StudyContext", layer: str, units: Sequence[int]) -> Outcome:
    """Return the strongest connections of units of `layer`; see `innersight.connections`.

    links : {direction "in" or "out", by "weight" or "attribution", layer, title}, where the layer is "class" for the
    classes and "input" for the image's bands. rows : for each unit and link, up to 8 of {unit, value, share}.
    """
    from innersight.connections import DEFINITION
    from innersight.connections import connections as measured

    try:
        found = measured(context.model_of(layer), f"{layer}:{','.join(map(str, units))}", context.images)
    except InnersightError as error:
        # A study continues without.
        empty: list[list[Any]] = [[]] * len(units)
        return {"definition": DEFINITION, "notes": [str(error)], "links": [], "units": list(units), "rows": empty}, {}
    return {
        "definition": DEFINITION,
        "notes": list(found.notes),
        "links": [
            {"direction": link.direction, "by": link.by, "layer": link.layer, "title": str(link)}
            for link in found.links
        ],
        "units": list(units),
        "rows": [[[_row(row) for row in found.rank(link, unit, STRONGEST)] for link in found.links] for unit in units],
    }, {}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"unit": row["unit"], **{key: float(f"{row[key]:.{DIGITS}g}") for key in ("value", "share")}}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    parts = reader.items("connections", row["name"])
    if not parts:
        return {"connections": None}
    # One that was requested may have become part of the plan since.
    rows: dict[int, Any] = {}
    for part in parts:
        rows |= dict(zip(part.document["units"], part.document["rows"], strict=True))
    about = {key: parts[0].document[key] for key in ("definition", "notes", "links")}
    return {"connections": {**about, "units": list(rows), "rows": list(rows.values())}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["connections"]
    if found is None:
        return {}
    kept = chosen.indices(found["units"])
    return {"connections": {**found, **{key: [found[key][i] for i in kept] for key in ("units", "rows")}}}


def _how(reader: "StudyReader") -> str:
    found = reader.items("connections")
    return str(found[0].document["definition"]) if found else "Connections between units were not computed."


@panels.register(
    "Connections",
    order=92,
    requests=(ConnectionsRequest,),
    per="unit",
    counted=units_of,
    missing="Connections were not requested, or the study has not computed them yet.",
    how=_how,
    layer=_layer,
    select=_select,
)
def connections(context: "StudyContext") -> Iterator[StudyTask]:
    """The connections of the best ranked units of the plan's layers."""
    known = context.surveyed()
    for layer in context.plan.layers:
        if count := min(context.plan.units, known[layer].units):
            settings = {**context.base, "count": count}
            make = partial(_ranked, context, layer, count)
            yield StudyTask(Key("connections", layer, "0"), settings, make, _passes(context, count))
