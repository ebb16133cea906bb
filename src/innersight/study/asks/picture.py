"""A picture that was dropped onto the page: it becomes a picture of the study."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

from pydantic import StringConstraints

from innersight.study.ask import Ask, Name, Scene, Work

File = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}\.[a-z]{3,4}$")]


class Picture(Ask):
    """A file in the study's folder `pictures`: its prediction, its maps in all layers of the study, its heatmaps."""

    kind: Literal["picture"]
    file: File
    name: Name

    @property
    def id(self) -> str:
        """The picture's id in documents and addresses."""
        return f"d{self.file[:8]}"

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield the prediction, the maps of all layers of the study, and heatmaps by the plan's methods."""
        from innersight.study import items
        from innersight.study.asks.heatmaps import Heatmaps

        picture, settings = scene.picture(self.id), scene.settings(self.id)
        yield f"added/{self.id}", settings, partial(items.one_picture, scene.model, picture, self.id)
        for layer in scene.layers:
            make = partial(items.maps_of, scene.model, (picture,), layer)
            yield f"added/{self.id}/maps/{layer}", settings, make
        yield from Heatmaps(kind="heatmaps", picture=self.id, methods=scene.plan.methods).items(scene)
