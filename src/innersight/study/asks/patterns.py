"""Patterns of units that the plan left out."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from innersight.errors import InnersightError
from innersight.study.ask import Ask, Name, Scene, Work, check_layer

Unit = Annotated[int, Field(ge=0, le=1_000_000)]


class Patterns(Ask):
    """The patterns of some units of a layer, drawn with the settings of the study's plan."""

    kind: Literal["patterns"]
    layer: Name
    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or the layer has no such unit."""
        check_layer(study, self.layer)
        count = next(layer["units"] for layer in study["layers"] if layer["name"] == self.layer)
        for unit in self.units:
            if unit >= count:
                raise InnersightError(f"no unit {unit}: {self.layer} has the units 0 to {count - 1}")

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield patterns in batches. The pattern of a unit does not depend on the others of its batch."""
        from innersight.study import items

        for start in range(0, len(self.units), items.CHUNK):
            units = self.units[start : start + items.CHUNK]
            key = f"patterns/{self.layer}/asked/{','.join(map(str, units))}"
            yield key, items.drawn(scene), partial(items.patterns_of, scene, self.layer, units)
