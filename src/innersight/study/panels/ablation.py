"""What the classes lose without each unit of a layer."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, Selection, StudyTask, one_over_all, panels
from innersight.study.request import LayerRequest

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.model import Model
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

LAYERS = 2
DIGITS = 4


class AblationRequest(LayerRequest):
    """The units of a layer set to zero one by one, over all images and those added later."""

    kind: Literal["ablation"]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study lists no such layer, or one without positions."""
        super().check(study)
        grid = next(layer["grid"] for layer in study["layers"] if layer["name"] == self.layer)
        if grid == [1, 1]:
            raise InnersightError(f"{self.layer} has a single location: units are ablated only in layers with several")

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield the images of the study together, and one item for each added image."""
        from innersight.layers import check_layers

        check_layers(context.model_of(self.layer), [self.layer])
        for image in ("", *context.added):
            yield _task(context, self.layer, image)


def _task(context: "StudyContext", layer: str, image: str = "") -> StudyTask:
    images, settings = context.over(image, layer)
    # Only what follows the layer is run.
    passes = 0.3 * context.surveyed(layer)[layer].units * len(images)
    make = partial(_ablated, context, images, layer)
    return StudyTask(Key("ablation", layer, image=image), settings, make, passes)


def _ablated(context: "StudyContext", images: "Sequence[Image]", layer: str) -> Outcome:
    return ablated(context.model_of(layer), images, layer)


def ablated(model: "Model", images: "Sequence[Image]", layer: str) -> Outcome:
    """Return what the predicted classes lose when each unit of `layer` is set to zero; see `innersight.ablate`.

    classes : up to 6 that images are predicted as, with the mean change (units,) over these images and a note on them.
    own : per image, the change (units,) of the class it is predicted as. why : only where nothing could be computed.
    """
    from innersight.ablation import DEFINITION, ablate

    about = {"to": "zero", "unit": model.head.unit, "definition": DEFINITION}
    try:
        found = ablate(model, images, layer)
    except InnersightError as error:
        # A study continues without; its pages say why.
        return {**about, "closed": False, "classes": [], "own": {}, "why": str(error)}, {}
    classes = []
    for label in found.shown_classes():
        number = model.class_index(label)
        mean = found.change[found.rows(number), :, number].mean(0)
        classes.append({"class": number, "label": label, "note": found.note(number), "mean": _rounded(mean.tolist())})
    own = {
        f"p{i}": {
            "class": number,
            "label": model.labels[number],
            "change": _rounded(found.change[i, :, number].tolist()),
        }
        for i, number in enumerate(found.logits.argmax(1).tolist())
    }
    return {**about, "to": found.to, "closed": found.closed_form, "classes": classes, "own": own}, {}


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _layer(reader: "StudyReader", files: Path, row: dict[str, Any]) -> dict[str, Any]:
    found = reader.item("ablation", row["name"])
    if found is None:
        return {"ablation": None}
    own = dict(found.document["own"])
    for name, item in reader.added("ablation", row["name"]).items():
        for change in item.document["own"].values():
            own[name] = change
    return {"ablation": {**found.document, "own": own}}


def _select(document: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    found = document["ablation"]
    if found is None:
        return {}
    return {"ablation": {**found, "own": {name: own for name, own in found["own"].items() if name in chosen.images}}}


def _how(reader: "StudyReader") -> str:
    found = reader.items("ablation")
    return str(found[0].document["definition"]) if found else "Not computed."


@panels.register(
    "Ablation",
    order=80,
    requests=(AblationRequest,),
    per="layer",
    counted=one_over_all,
    missing="Ablation was not computed: the study has no layer with more than one location, or has "
    "not computed it yet.",
    how=_how,
    layer=_layer,
    select=_select,
)
def ablation(context: "StudyContext") -> Iterator[StudyTask]:
    """Ablation of the last two of the plan's layers that have a grid."""
    for layer in context.gridded()[-LAYERS:]:
        yield _task(context, layer)
