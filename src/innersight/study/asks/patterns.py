"""Patterns of units that the plan left out."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from innersight.study.ask import Scene, UnitsAsk, Work


class Patterns(UnitsAsk):
    """The patterns of some units of a layer, drawn with the settings of the study's plan."""

    kind: Literal["patterns"]

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield patterns in small batches. The pattern of a unit does not depend on the others of its batch."""
        from innersight.study import items

        for units in self.batches():
            key = f"patterns/{self.layer}/asked/{','.join(map(str, units))}"
            yield key, items.drawn(scene), partial(items.patterns_of, scene, self.layer, units)
