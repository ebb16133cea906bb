"""Connections of units that the plan left out."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from innersight.study.ask import Scene, UnitsAsk, Work


class Connections(UnitsAsk):
    """Which units of the layers beside it drive some units of a layer, and which they drive, over all images."""

    kind: Literal["connections"]

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield one item for all of the units."""
        from innersight.study.causes import connected

        units = tuple(dict.fromkeys(self.units))
        key = f"connections/{self.layer}/asked/{','.join(map(str, units))}"
        yield key, scene.base, partial(connected, scene.model, scene.images, self.layer, units)
