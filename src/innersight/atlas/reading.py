"""The images of a sample read again: what its vectors count for each class, and crops at their locations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image as PILImage
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError, printable
from innersight.inputs import ImageEntry, ImageReader, batched
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.scan.crops import ReopenedImage, cut, reopened_image
from innersight.vectors import VectorSample

BATCH = 16
SIDE = 80  # pixels of a crop


@dataclass(frozen=True, eq=False)
class Reread:
    """attribution : (vectors, classes), in the unit of the network's scores. crops : (n, SIDE, SIDE, 3), as asked."""

    attribution: Float[Tensor, "vectors classes"]
    crops: UInt8[np.ndarray, "n side side 3"]


def read_again(
    model: Model,
    images: Any,
    sample: VectorSample,
    classes: Sequence[int],
    cropped: Int[Tensor, " n"],
    progress: Callable[[int], None],
) -> Reread:
    """Read the images of a sample again, one pass of each.

    A vector counts for a class as much as the class's score would change, to first order, if the vector became 0: the
    dot product of the vector with the score's gradient at its location, gradient x activation.

    classes : numbers of classes. cropped : which vectors are shown. progress : takes the number of images done.
    Raises InnersightError where an image is not what it was.
    """
    field = receptive_fields(model, [sample.layer])[sample.layer]
    side = max(field.effective)
    square = replace(field, effective=(side, side))
    attribution = torch.zeros(len(sample), len(classes))
    crops = np.zeros((len(cropped), SIDE, SIDE, 3), np.uint8)
    wanted = {int(vector): i for i, vector in enumerate(cropped)}
    first = torch.searchsorted(sample.image, torch.arange(len(sample.names) + 1)).tolist()
    reading = ImageReader(images, model.input, model.labels, numbers=sample.numbers, required=False)
    place = {number: i for i, number in enumerate(sample.numbers)}
    ones = torch.ones(sample.grid)
    done = 0
    with tap.untouched(model):
        for group in batched(reading.each(partial(_opened, model=model), group_size=1), BATCH):
            own = []
            for entry, one in group:
                image = place[entry.number]
                _same(entry, sample, image)
                rows = range(first[image], first[image + 1])
                own.append(rows)
                for vector in rows:
                    if vector in wanted:
                        at = (int(sample.location[vector, 0]), int(sample.location[vector, 1]))
                        pixels = PILImage.fromarray(cut(one, ones, at, square, model.input).pixels)
                        crops[wanted[vector]] = np.asarray(pixels.resize((SIDE, SIDE), PILImage.Resampling.BICUBIC))
            if classes:
                x = torch.stack([one.x for _, one in group])
                for rows, values in zip(own, _attributions(model, x, sample, own, classes), strict=True):
                    attribution[rows.start : rows.stop] = values
            done += len(group)
            progress(done)
    if reading.errors:
        raise InnersightError(f"{reading.errors[0]}: the images changed while the atlas was made; make it again")
    return Reread(attribution, crops)


def _opened(entry: ImageEntry, model: Model) -> tuple[ImageEntry, ReopenedImage]:
    return entry, reopened_image(entry.load(model.input).checked(model.input), model.input)


def _same(entry: ImageEntry, sample: VectorSample, image: int) -> None:
    if entry.name != sample.names[image] or entry.stamp() != sample.stamps[image]:
        raise InnersightError(f"{printable(sample.names[image])}: changed while the atlas was made; make it again")


def _attributions(
    model: Model, x: Tensor, sample: VectorSample, rows: Sequence[range], classes: Sequence[int]
) -> list[Tensor]:
    """Return gradient x activation (vectors, classes) of the vectors of each image of a batch."""
    captured = tap.leaf(model, x.to(model.device, model.dtype), [sample.layer])
    logits, maps = captured.logits(), captured.activations[sample.layer]
    per_class = []
    for number in classes:
        with torch.enable_grad():
            score = logits[:, number].sum()
        (gradient,) = tap.gradients(model, score, [maps], retain_graph=True)
        # In float32: a product of two halves may be more than a half holds.
        per_class.append((gradient.float() * maps.detach().float()).sum(1).cpu())
    found = torch.stack(per_class, 3)
    return [found[i, sample.location[own, 0], sample.location[own, 1]] for i, own in enumerate(rows)]
