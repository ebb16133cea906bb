"""What switches units off, for units that the plan left out."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from innersight.study.ask import Scene, UnitsAsk, Work


class Negatives(UnitsAsk):
    """The images that lower some units of a layer most, drawn with the settings of the study's plan."""

    kind: Literal["negatives"]

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield them in small batches, each of which is kept once it is finished."""
        from innersight.study import items

        for units in self.batches():
            key = f"negatives/{self.layer}/asked/{','.join(map(str, units))}"
            yield key, items.drawn(scene), partial(items.negatives_of, scene, self.layer, units)
