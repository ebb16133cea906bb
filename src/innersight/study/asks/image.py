"""An image that was dropped onto the page: it becomes an image of the study."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

from pydantic import StringConstraints

from innersight.study.ask import Ask, Name, Scene, Work

File = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}\.[a-z]{3,4}$")]


class Image(Ask):
    """A file in the study's folder `images`: its prediction, its maps in all layers of the study, its heatmaps."""

    kind: Literal["image"]
    file: File
    name: Name

    @property
    def id(self) -> str:
        """The image's id in documents and addresses."""
        return f"d{self.file[:8]}"

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield the prediction, the maps of all layers of the study, and heatmaps by the plan's methods."""
        from innersight.study import items
        from innersight.study.asks.heatmaps import Heatmaps

        image, settings = scene.image(self.id), scene.settings(self.id)
        yield f"added/{self.id}", settings, partial(items.one_image, scene.model, image, self.id)
        for layer in scene.layers:
            make = partial(items.maps_of, scene.model, (image,), layer)
            yield f"added/{self.id}/activations/{layer}", settings, make
        yield from Heatmaps(kind="heatmaps", image=self.id, methods=scene.plan.methods).items(scene)
