"""Activation maps of all units of a layer over every image."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, one_over_all, panels
from innersight.study.request import LayerRequest

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.study.content import Content
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


class ActivationsRequest(LayerRequest):
    """The maps of every unit of a layer over all images, and its units compared between them."""

    kind: Literal["activations"]

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield the maps, the comparison where there are positions and several images, and maps of added images."""
        from innersight.layers import check_layers
        from innersight.study.panels.compare import compare_task

        (layer,) = check_layers(context.model_of(self.layer), [self.layer])
        yield maps_task(context, self.layer)
        if len(context.images) > 1 and layer.grid != (1, 1):
            yield compare_task(context, self.layer)
        for name in context.added:
            yield maps_task(context, self.layer, name)


def maps_task(context: "StudyContext", layer: str, image: str = "") -> StudyTask:
    """Return the task of a layer's maps, over the images of the study or one that was added."""
    images, settings = context.over(image, layer)
    return StudyTask(Key("activations", layer, image=image), settings, partial(_maps, context, images, layer))


def _maps(context: "StudyContext", images: "tuple[Image, ...]", layer: str) -> Outcome:
    from innersight.activations import activations

    return {}, {"activations": activations(context.model_of(layer), images, [layer]).values[layer]}


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    from innersight.render.sheets import value_sheet

    maps = reader.item("activations", row["name"])
    of_images = {f"p{i}": values for i, values in enumerate(maps.tensors()["activations"])} if maps else {}
    for name, item in reader.added("activations", row["name"]).items():
        of_images[name] = item.tensors()["activations"][0]
    return {
        "activations": {
            name: {**value_sheet(files, values), "mean": values.mean((1, 2)).tolist()}
            for name, values in of_images.items()
        },
        "signed": any(bool((values < 0).any()) for values in of_images.values()),
    }


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    own = {name: maps for name, maps in document["activations"].items() if name in chosen.images}
    if chosen.units is not None:
        own = {
            name: {**maps, "sheet": {**chosen.cut(maps["sheet"], chosen.units), "at": chosen.units}}
            for name, maps in own.items()
        }
    return {"activations": own}


def _export(reader: "StudyReader", content: "Content") -> None:
    import numpy as np

    from innersight.render.colour import paint, scale_of
    from innersight.study.content import UNITS, sheet_of

    for layer in reader.layer_names():
        if item := reader.item("activations", layer):
            maps = item.tensors()["activations"]
            scale = scale_of(maps)
            for i, of_image in enumerate(maps[:, :UNITS]):
                tiles = np.stack([paint(one, scale) for one in of_image])
                content.sheets[f"activations/{layer}/p{i}"] = sheet_of(tiles)
            content.values[f"peaks/{layer}"] = maps.amax((2, 3)).flatten()


@panels.register(
    "Activations",
    order=30,
    requests=(ActivationsRequest,),
    per="layer",
    counted=one_over_all,
    how="The output of every unit at every location of its layer, as computed by the network: neither rescaled nor "
    "smoothed.",
    layer=_layer,
    select=_select,
    export=_export,
)
def activations(context: "StudyContext") -> Iterator[StudyTask]:
    """Activation maps of the plan's layers."""
    for layer in context.plan.layers:
        yield maps_task(context, layer)
