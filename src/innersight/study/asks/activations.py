"""Activations of a layer, and the comparison of its units."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from innersight.study.ask import Ask, Name, Scene, Work, check_layer


class Activations(Ask):
    """The maps of every unit of a layer over all images, and its units compared between them."""

    kind: Literal["activations"]
    layer: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer."""
        check_layer(study, self.layer)

    def items(self, scene: Scene) -> Iterator[Work]:
        """Yield the maps, the comparison where there are places and several images, and maps of added images."""
        from innersight.layers import check_layers
        from innersight.study import items

        (layer,) = check_layers(scene.model, [self.layer])
        yield f"activations/{self.layer}", scene.base, partial(items.maps_of, scene.model, scene.images, self.layer)
        if len(scene.images) > 1 and layer.grid != (1, 1):
            yield f"compare/{self.layer}", scene.base, partial(items.compared, scene.model, scene.images, self.layer)
        for name, image in scene.added.items():
            make = partial(items.maps_of, scene.model, (image,), self.layer)
            yield f"added/{name}/activations/{self.layer}", scene.settings(name), make
