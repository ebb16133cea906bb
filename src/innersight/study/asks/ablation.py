"""What the classes lose without each unit of a layer, for layers and images that the plan left out."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from innersight.errors import InnersightError
from innersight.study.ask import Ask, Name, Scene, Work, check_layer


class Ablation(Ask):
    """The units of a layer switched off one by one, over all images and those added later."""

    kind: Literal["ablation"]
    layer: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or one without places."""
        check_layer(study, self.layer)
        grid = next(layer["grid"] for layer in study["layers"] if layer["name"] == self.layer)
        if grid == [1, 1]:
            raise InnersightError(f"{self.layer} has no places: units are switched off in layers with a grid")

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield the images of the study together, and one item for each added image."""
        from innersight.layers import check_layers
        from innersight.study.causes import ablation

        check_layers(scene.model, [self.layer])
        yield f"ablation/{self.layer}", scene.base, partial(ablation, scene.model, scene.images, self.layer)
        for name, image in scene.added.items():
            make = partial(ablation, scene.model, (image,), self.layer)
            yield f"added/{name}/ablation/{self.layer}", scene.settings(name), make
