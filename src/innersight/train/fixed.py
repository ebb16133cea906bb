"""A few images of which heatmaps are recorded while a network learns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.errors import InnersightError
from innersight.image import Image
from innersight.inputs import read
from innersight.model import Model
from innersight.registry import Registry
from innersight.render.colour import paint, scale_of
from innersight.render.sheets import small
from innersight.storage.bounded import check, reading
from innersight.storage.writing import write_tensors
from innersight.train.options import MAX_IMAGES

FILE = "images.safetensors"
WHAT = "record of images"
MAX_VALUES = 2**19  # of all maps together
MAX_FILE = 64 * 2**20
SIDE = 160
_TEXTS = ("names", "labels")


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a recorder found in the images at one moment.

    values : (N, h, w) maps, in `unit`. title, layer : how and where they were computed. target, predicted : (N,) the
    classes that the maps are about and that the network predicts. probability : (N,) of the class that the maps are
    about.
    """

    values: Tensor
    unit: str
    title: str
    layer: str
    target: Tensor
    predicted: Tensor
    probability: Tensor


Recorder = Callable[[Model, "tuple[Image, ...]", "Sequence[int | None]"], Recorded]

# A recorder reads the images with the network as it is, and leaves that as it was.
recorders: Registry[Recorder] = Registry("recorder", "innersight.recorders")


class FixedImages:
    """A few images of which heatmaps are recorded while a network learns: after every epoch, and before the first.

    Parameters
    ----------
    model : Model
        What `innersight.load` makes of the module that is trained; the module itself is read, as it is at each record.
    images : images
        Whatever holds images, see `innersight.inputs.entries`; at most 16.
    targets : sequence of int or str, optional
        The class explained in each image, by number or label. When None the class predicted at each record.

    Raises
    ------
    InnersightError
        For more than 16 images, other numbers of targets, and unknown classes.
    ImageError
        Where no image can be read.

    Notes
    -----
    Nothing is computed at construction. A record takes about two forward and one backward pass of the images; weights,
    gradients, modes and torch's random numbers are as before, so the training is bit for bit the one without. No more
    than 2**19 values are kept: when there are more, every second record is dropped, and from then on every second
    epoch is recorded.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import draw
    >>> from innersight.train import FixedImages
    >>> images = FixedImages(ins.load("toon"), [draw("ambra", seed=1).pixels], targets=["ambra"])
    >>> images.record(step=0, epoch=0)
    >>> images.tensors()["values"].shape
    torch.Size([1, 1, 12, 12])

    """

    def __init__(self, model: Model, images: Any, targets: Sequence[int | str] | None = None) -> None:
        self._model, self._images = model, read(images, model.input, model.labels).images
        if len(self._images) > MAX_IMAGES:
            raise InnersightError(f"{len(self._images)} images to record: give at most {MAX_IMAGES}")
        if targets is not None and len(targets) != len(self._images):
            raise InnersightError(f"{len(targets)} targets for {len(self._images)} images: give one for each")
        self._targets = [None] * len(self._images) if targets is None else [model.class_index(one) for one in targets]
        self._rows: list[dict[str, Tensor]] = []
        self._facts: dict[str, str] = {}
        self._every = 1
        self.refusal = ""

    @property
    def model(self) -> Model:
        """The network that is recorded."""
        return self._model

    def record(self, step: int, epoch: int, writer: Any = None) -> None:
        """Record the images as the network sees them now, where this epoch is due.

        Where no heatmap can be read, `refusal` says why, and nothing is recorded.

        Parameters
        ----------
        step
            Training steps made so far.
        epoch
            Epochs completed so far; 0 before the first. One that was recorded already is not recorded again.
        writer
            A writer of event files, which gets the maps over the images.

        """
        if epoch % self._every or self.refusal or any(int(row["epoch"]) >= epoch for row in self._rows):
            return
        try:
            found = recorders["heatmaps"](self._model, self._images, self._targets)
        except InnersightError as error:
            self.refusal = str(error)
            return
        self._facts = {"title": found.title, "layer": found.layer, "unit": found.unit}
        own = {key: getattr(found, key).detach().cpu() for key in ("values", "target", "predicted", "probability")}
        self._rows.append({"step": torch.tensor(step), "epoch": torch.tensor(epoch), **own})
        self._thin()
        if writer is not None:
            for number, (image, values) in enumerate(zip(self._images, found.values, strict=True)):
                pixels = overlay(self._seen(image), values)
                writer.add_image(f"heatmaps/{number + 1} {image.name}", pixels, step, dataformats="HWC")

    def tensors(self) -> dict[str, Tensor]:
        """Return what the file holds, see `read_images`; empty before the first record."""
        if not self._rows:
            return {}
        rows = {key: torch.stack([row[key] for row in self._rows]) for key in self._rows[0]}
        seen = np.stack([self._seen(image) for image in self._images])
        return {**rows, "pixels": torch.from_numpy(seen)}

    def facts(self) -> dict[str, Any]:
        """Return how the maps were made, the names of the images, and the labels of the classes."""
        return {**self._facts, "names": [image.name for image in self._images], "labels": list(self._model.labels)}

    def write(self, folder: Path) -> None:
        """Write `images.safetensors`; the old file stays until the new one is complete.

        Parameters
        ----------
        folder
            Of the run.

        """
        if found := self.tensors():
            write_tensors(folder / FILE, found, {"facts": json.dumps(self.facts())})

    def state(self) -> dict[str, Any]:
        """Return all that was recorded, for a checkpoint."""
        own = {"every": self._every, "facts": dict(self._facts), "images": self._digests()}
        return {**own, "rows": [dict(row) for row in self._rows]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned.

        Parameters
        ----------
        state
            As `state` returned it.

        Raises
        ------
        InnersightError
            Where other images were recorded.

        """
        if state["images"] != self._digests():
            raise InnersightError(
                "the training goes on with other images than those of its record: give the same ones, in their order, "
                "or write to another folder without the checkpoint"
            )
        self._every, self._rows = int(state["every"]), [dict(row) for row in state["rows"]]
        self._facts = dict(state["facts"])

    def _digests(self) -> list[str]:
        return [
            sha256(np.ascontiguousarray(image.seen(self._model.input)).tobytes()).hexdigest()[:16]
            for image in self._images
        ]

    def _seen(self, image: Image) -> np.ndarray:
        return small(image.seen(self._model.input), side=SIDE)

    def _thin(self) -> None:
        while len(self._rows) > 2 and len(self._rows) * self._rows[0]["values"].numel() > MAX_VALUES:
            self._every *= 2
            self._rows = [row for row in self._rows if int(row["epoch"]) % self._every == 0]


def overlay(pixels: np.ndarray, values: Tensor) -> np.ndarray:
    """Return (H, W, 3) uint8: the map (h, w), in colours of its own scale, over the grey image."""
    height, width = pixels.shape[:2]
    rows = torch.arange(height) * values.shape[0] // height
    columns = torch.arange(width) * values.shape[1] // width
    colours = paint(values[rows][:, columns], scale_of(values))
    grey = pixels.mean(-1, keepdims=True)
    mixed: np.ndarray = (0.4 * grey + 0.6 * colours).round().astype(np.uint8)
    return mixed


ImagesRead = tuple[dict[str, Any], dict[str, Tensor]]
"""Facts and tensors of a record of images, see `read_images`."""


def read_images(folder: str | Path) -> ImagesRead | None:
    """Read `images.safetensors` of a run: facts and tensors; None where there is none.

    Returns {"title", "layer", "unit", "names", "labels"}, and tensors of R records of N images: step, epoch (R,),
    values (R, N, h, w), target, predicted, probability (R, N), pixels (N, H, W, 3) uint8. Raises InnersightError for
    what is none.
    """
    import safetensors

    path = Path(folder) / FILE
    if not path.is_file():
        return None
    check(path, what=WHAT, limit=MAX_FILE)
    with reading(path, WHAT, safetensors.SafetensorError), safetensors.safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})["facts"])
        return checked_images(facts, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def checked_images(facts: Any, tensors: dict[str, Tensor]) -> ImagesRead:
    """Return facts and tensors of a record of images. Raises TypeError, ValueError or KeyError for what is none."""
    texts = [facts[key] for key in ("title", "layer", "unit")] + [one for key in _TEXTS for one in facts[key]]
    if not all(isinstance(facts[key], list) for key in _TEXTS) or not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is missing")
    values, pixels = tensors["values"], tensors["pixels"]
    if values.ndim != 4 or not values.is_floating_point() or not 0 < values.numel() <= 2 * MAX_VALUES:
        raise ValueError(f"maps of shape {tuple(values.shape)}")
    records, images = values.shape[:2]
    height, width = pixels.shape[1:3]
    if pixels.dtype != torch.uint8 or tuple(pixels.shape) != (images, height, width, 3) or max(height, width) > SIDE:
        raise ValueError(f"images of shape {tuple(pixels.shape)}")
    of_images = dict.fromkeys(("target", "predicted", "probability"), (records, images))
    for key, shape in {"step": (records,), "epoch": (records,), **of_images}.items():
        if tuple(tensors[key].shape) != shape:
            raise ValueError(f"{key} of shape {tuple(tensors[key].shape)}")
    classes = torch.stack([tensors["target"], tensors["predicted"]])
    labels = len(facts["labels"])
    if len(facts["names"]) != images or classes.is_floating_point() or not ((classes >= 0) & (classes < labels)).all():
        raise ValueError("names of images or classes do not fit")
    found = {key: tensors[key] for key in ("values", "pixels", "step", "epoch", "target", "predicted", "probability")}
    return {key: facts[key] for key in ("title", "layer", "unit", *_TEXTS)}, found
