"""A sample of a layer's activation vectors: one for each of many locations, from one pass over any number of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.input_warnings import InputLook
from innersight.inputs import ImageReader, Loaded, class_of, network_input
from innersight.layers import check_layers
from innersight.model import Model
from innersight.scalars import at_least_one

BATCH = 32
ProgressCallback = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class VectorSample:
    """Activation vectors of one layer, each of one location of an image, as `sample` returns them.

    The vectors are in the order of their images, and in an image of their locations. Of images without any vector in
    the sample nothing is kept.

    Attributes
    ----------
    layer : str
        Name of the layer.
    grid : (int, int)
        (h, w) of the layer; (1, 1) where it has no locations.
    vectors : Tensor
        (vectors, units) float32, as the network computed them: signed and unscaled.
    image : Tensor
        (vectors,) int64: the image of each, as an index into `names`.
    location : Tensor
        (vectors, 2) int64: (y, x) in the layer's grid.
    names : tuple of str
        One for each image, for people and for `innersight.inputs.again`.
    numbers : tuple of int
        The place of each image among all that were given, rising; for `innersight.inputs.chosen`.
    stamps : tuple of str
        A text for each image that changes when its file may have changed; "" where nothing cheap tells.
    labels : Tensor
        (images,) int64: the class that each image is labelled with, -1 where none is known.
    logits : Tensor
        (images, classes) float32: the network's scores, of the same pass.
    images : int
        How many images were read, with those that have no vector in the sample.
    skipped : tuple of str
        One sentence for each image that was left out.
    notes : tuple of str
        How images and labels were understood.
    warnings : tuple of str
        What seems wrong with the input contract, see `innersight.input_warnings`.

    """

    layer: str
    grid: tuple[int, int]
    vectors: Float[Tensor, "vectors units"]
    image: Int[Tensor, " vectors"]
    location: Int[Tensor, "vectors 2"]
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    stamps: tuple[str, ...]
    labels: Int[Tensor, " images"]
    logits: Float[Tensor, "images classes"]
    images: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def predicted(self) -> Int[Tensor, " images"]:
        """(images,) int64: the class of highest score of each image."""
        return self.logits.argmax(1)


@public()
def sample(
    model: Model,
    images: Any,
    layer: str,
    *,
    count: int = 10_000,
    per_image: int | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> VectorSample:
    """Draw activation vectors of one layer at random from all locations of all images.

    Parameters
    ----------
    model
        The network.
    images
        Anything that holds images, see `innersight.inputs.entries`.
    layer
        Name of the layer; one without locations has one vector for each image.
    count
        Vectors to draw, at least 1; all where there are fewer.
    per_image
        At most so many of one image, at least 1; None for as many as the draw brings.
    seed
        Of the draw, 0 or more.
    progress
        Called after every batch as `progress(done, 0, name)`, with the number of images done and the name of the last.

    Returns
    -------
    VectorSample
        The vectors, where each comes from, and what the network predicts for its image.

    Raises
    ------
    InnersightError
        For an unknown layer, numbers out of range, and activations that are NaN or infinite for every image.
    ImageError
        Where no image could be read. Single images that cannot be read are listed in `skipped`.

    Notes
    -----
    One forward pass over every image, and memory for `count` vectors, however many images there are: every location is
    given a random number, made from the seed and the place of its image among all, and those with the lowest numbers
    are kept. So the draw is uniform, without replacement, and depends on neither the batch nor the other images.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import vectors
    >>> from innersight.toons import Drawn
    >>> found = vectors.sample(ins.load("toon"), Drawn(per_class=1), "stage4", count=100)
    >>> found.vectors.shape, found.grid, found.images
    (torch.Size([100, 128]), (12, 12), 10)

    """
    at_least_one(count=count, **({} if per_image is None else {"per_image": per_image}))
    (described,) = check_layers(model, [layer])
    draw = _Draw(model, count, per_image, seed)
    reading = ImageReader(images, model.input, model.labels)
    look, read = InputLook(model), 0
    with tap.untouched(model), torch.no_grad():
        for loaded in reading.batches(BATCH):
            x = network_input(loaded, model)
            look.add(x, (one.size for one in loaded))
            captured = tap.capture(model, x, [layer], stop=False)
            maps, logits = captured.activations[layer], captured.logits()
            fine = (maps.isfinite().flatten(1).all(1)).tolist()
            for one, readable in zip(loaded, fine, strict=True):
                if not readable:
                    reading.skip(one.entry, f"activations of {layer} are NaN or infinite")
            rows = [i for i, readable in enumerate(fine) if readable]
            draw.add([loaded[i] for i in rows], maps[rows], logits[rows])
            read += len(rows)
            if progress is not None:
                progress(read + len(reading.errors), 0, printable(loaded[-1].entry.name))
    if not read:
        raise InnersightError(f"activations of {layer} of {model.name} are NaN or infinite for all images")
    kept, image, location, found = draw.result(described.grid[1])
    return VectorSample(
        layer, described.grid, found, image, location,
        names=tuple(one.name for one in kept),
        numbers=tuple(one.number for one in kept),
        stamps=tuple(one.stamp for one in kept),
        labels=torch.tensor([one.label for one in kept]),
        logits=torch.stack([one.logits for one in kept]),
        images=read, skipped=reading.skipped, notes=reading.notes, warnings=look.warnings,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Kept:
    """What is kept of an image of which some vectors are in the sample."""

    name: str
    number: int
    stamp: str
    label: int
    logits: Float[Tensor, " classes"]


class _Draw:
    """The vectors drawn so far: those with the lowest random numbers, and their images."""

    def __init__(self, model: Model, count: int, per_image: int | None, seed: int) -> None:
        self._model, self._count, self._per_image, self._seed = model, count, per_image, seed
        self._images: dict[int, _Kept] = {}
        self._keys = np.zeros(0)
        self._places = np.zeros((0, 2), np.int64)  # number of the image, location in the flattened grid
        self._vectors: list[Tensor] = []
        self._highest = np.inf

    def add(
        self, loaded: Sequence[Loaded], maps: Float[Tensor, "B units h w"], logits: Float[Tensor, "B classes"]
    ) -> None:
        """Take in a batch."""
        flat = maps.flatten(2)
        rows, locations, keys = [], [], []
        for row, one in enumerate(loaded):
            own = np.random.default_rng((self._seed, one.entry.number)).random(flat.shape[2])
            chosen = np.argsort(own, kind="stable")[: self._per_image]
            chosen = np.sort(chosen[own[chosen] <= self._highest])
            if len(chosen):
                label = class_of(one.entry.label, self._model.labels)
                self._images[one.entry.number] = _Kept(
                    one.entry.name, one.entry.number, one.entry.stamp(), label, logits[row].float().cpu()
                )
            rows += [row] * len(chosen)
            locations += chosen.tolist()
            keys.append(own[chosen])
        if not rows:
            return
        numbers = [loaded[row].entry.number for row in rows]
        self._keys = np.concatenate([self._keys, *keys])
        self._places = np.concatenate([self._places, np.stack([numbers, locations], 1)])
        self._vectors.append(flat[rows, :, locations].float().cpu())
        if len(self._keys) > 2 * self._count:
            self._prune()

    def _prune(self) -> None:
        """Keep the vectors with the lowest numbers, in the order in which they came."""
        lowest = np.sort(np.argsort(self._keys, kind="stable")[: self._count])
        self._keys, self._places = self._keys[lowest], self._places[lowest]
        self._vectors = [torch.cat(self._vectors)[lowest]]
        self._images = {number: self._images[number] for number in np.unique(self._places[:, 0]).tolist()}
        if len(lowest) == self._count:
            self._highest = float(self._keys.max())

    def result(self, width: int) -> tuple[list[_Kept], Tensor, Tensor, Tensor]:
        """Return the images, and of each vector its image among these, its location and its values."""
        self._prune()
        numbers, image = np.unique(self._places[:, 0], return_inverse=True)
        location = np.stack(np.divmod(self._places[:, 1], width), 1)
        kept = [self._images[number] for number in numbers.tolist()]
        return kept, torch.from_numpy(image), torch.from_numpy(location), self._vectors[0]
