"""Patterns of units that the plan left out."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from innersight.study.ask import Ask, Name, Scene, Work, check_units

Unit = Annotated[int, Field(ge=0, le=1_000_000)]


class Patterns(Ask):
    """The patterns of some units of a layer, drawn with the settings of the study's plan."""

    kind: Literal["patterns"]
    layer: Name
    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or the layer has no such unit."""
        check_units(study, self.layer, self.units)

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield patterns in batches. The pattern of a unit does not depend on the others of its batch."""
        from innersight.study import items

        for start in range(0, len(self.units), items.CHUNK):
            units = self.units[start : start + items.CHUNK]
            key = f"patterns/{self.layer}/asked/{','.join(map(str, units))}"
            yield key, items.drawn(scene), partial(items.patterns_of, scene, self.layer, units)
