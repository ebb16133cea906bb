"""Heatmaps of fixed images, as the network gives them at one moment of its training."""

from collections.abc import Sequence

import torch

from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.heatmaps.request import methods
from innersight.image import Image
from innersight.model import Model
from innersight.predict import predict
from innersight.train.fixed import Recorded, recorders

METHOD = "gradcam"


@recorders.register("Grad-CAM", use="How much each location counts for the class, in all epochs of a training")
def heatmaps(model: Model, images: tuple[Image, ...], targets: Sequence[int | None]) -> Recorded:
    """Grad-CAM at the last layer with a grid, raw, for the given classes or those predicted."""
    found = explain(model, list(images), list(targets), [METHOD])
    scores = predict(model, list(images))
    classes = torch.tensor([entry.target for entry in found.entries])
    if found.layer is None or len(classes) != len(images) or len(scores.logits) != len(images):
        raise InnersightError(f"no {methods.entry(METHOD).title} of these images can be read")
    return Recorded(
        values=torch.stack([entry.values.float() for entry in found.entries]),
        unit=found.entries[0].unit,
        title=methods.entry(METHOD).title,
        layer=found.layer,
        target=classes,
        predicted=scores.logits.argmax(1),
        probability=scores.probabilities.gather(1, classes[:, None])[:, 0],
    )
