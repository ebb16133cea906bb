"""Connections of units that the plan left out."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from innersight.study.ask import Ask, Name, Scene, Work, check_units
from innersight.study.asks.patterns import Unit


class Connections(Ask):
    """Which units of the layers beside it drive some units of a layer, and which they drive, over all pictures."""

    kind: Literal["connections"]
    layer: Name
    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or the layer has no such unit."""
        check_units(study, self.layer, self.units)

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield one item for all of the units."""
        from innersight.study.causes import connected

        units = tuple(dict.fromkeys(self.units))
        key = f"connections/{self.layer}/asked/{','.join(map(str, units))}"
        yield key, scene.base, partial(connected, scene.model, scene.pictures, self.layer, units)
