"""What is audited: the network, what was read of the images, and what checks have in common."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from innersight import tap
from innersight.audit.keep import Keep, Values
from innersight.audit.reading import Pixels, ReadPixels, Table, halves, read_layers
from innersight.inputs import Given
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.remote import spread
from innersight.trust.regions import Regions

T = TypeVar("T")
BATCH = 64


@dataclass(frozen=True, eq=False)
class Subject:
    """What a check is given.

    model : the network. images : as they were given, to be read again in another way. table : what was read of them.
    pixels : what the network sees of each, `pixels[index]` gives (n, C, H, W) uint8. train : images that it was trained
    on, if given. regions : where classes are seen, if given. full : look for longer. limit : passes that all checks may
    take. seed : of everything random. progress : called with passes and what is being done. keep : see `Keep`. cluster
    : that pieces are spread over, see `innersight.remote.parse`; None for this machine.
    """

    model: Model
    images: Given
    table: Table
    pixels: "Pixels | ReadPixels"
    train: Given | None
    regions: Regions | None
    full: bool
    limit: int
    seed: int
    progress: Callable[[int, str], None]
    keep: Keep
    cluster: str | None = None
    taken: list[int] = field(default_factory=lambda: [0])
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """How many passes the checks have taken."""
        return self.taken[0]

    @property
    def labelled(self) -> bool:
        """Whether the class of any image is known."""
        return bool((self.table.classes >= 0).any())

    @cached_property
    def own(self) -> Int[Tensor, " n"]:
        """The class of each image: its label, -1 for none; where no image has a label the predicted class."""
        return self.table.classes if self.labelled else self.predicted

    def others(self, label: int) -> Bool[Tensor, " n"]:
        """Return which images are of another class than the given one."""
        return (self.own != label) & (self.own >= 0)

    @cached_property
    def predicted(self) -> Int[Tensor, " n"]:
        """The class with the highest score of each image."""
        return self.table.logits.argmax(1)

    @cached_property
    def suggests(self) -> Bool[Tensor, " n"]:
        """Whether an image may suggest hypotheses; the others confirm them."""
        return halves(self.table, self.seed)

    @cached_property
    def layer(self) -> str | None:
        """The layer that class heatmaps are read from; None for a network without any grid."""
        return next(iter(read_layers(self.model)), None)

    @cached_property
    def middle(self) -> str | None:
        """A layer in the middle of the network, which has no part in the decision yet; None where there is none."""
        return next(iter(read_layers(self.model)[1:]), None)

    def rng(self, *key: int) -> np.random.Generator:
        """Return a random stream of its own for each key, the same in every run."""
        return np.random.default_rng((self.seed, *key))

    def tensor(self, pixels: Tensor) -> Float[Tensor, "n C H W"]:
        """Return network input. pixels : (n, C, H, W), uint8, or floats in 0..1."""
        values = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
        x = self.model.input.normalise(values).to(self.model.device, self.model.dtype)
        return x.to(memory_format=memory_format(self.model))

    def logits(self, pixels: Tensor, what: str) -> Float[Tensor, "n classes"]:
        """Return the network's scores for pixels (n, C, H, W), uint8 or in 0..1; counts as n passes."""
        found = []
        with tap.untouched(self.model), torch.no_grad():
            for part in torch.split(pixels, BATCH):
                found.append(self.model.logits(self.tensor(part)).float().cpu())
                self.count(len(part), what)
        return torch.cat(found) if found else torch.zeros(0, len(self.model.labels))

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """Return what `compute` returns, which is called once for each name: what checks have in common."""
        if name not in self.found:
            self.found[name] = compute()
        value: T = self.found[name]
        return value

    def pieces(
        self, kind: str, numbers: Sequence[int], compute: Callable[["Subject", int], Values], settings: dict[str, Any]
    ) -> Generator[Values, None, None]:
        """Yield what `compute` returns for each number, in order: kept in the study, or computed here or on a cluster.

        compute : returns a document that states its passes, and tensors. settings : what else the results depend on.
        """
        todo = [number for number in numbers if not self.keep.has(f"{kind} {number}", settings)]
        if self.cluster is None:
            results = (compute(self, number) for number in todo)
        else:
            results = self._spread(kind, todo, compute)

        def computed(name: str) -> Values:
            document, tensors = next(results)
            if self.cluster is not None:
                self.count(document["passes"], name)
            return document, tensors

        with closing(results):
            for number in numbers:
                name = f"{kind} {number}"
                document, tensors = self.keep.piece(name, settings, partial(computed, name))
                if number not in todo:
                    # They are counted, but take no time.
                    self.progress(document["passes"], name)
                yield document, tensors

    def _spread(
        self, kind: str, numbers: Sequence[int], compute: Callable[["Subject", int], Values]
    ) -> Generator[Values, None, None]:
        """Yield what workers on a cluster compute; they read the pixels that they need from the images themselves."""
        assert self.cluster is not None
        read = ReadPixels(self.images, self.model.input, self.table.numbers)
        sent = replace(self, pixels=read, keep=Keep(), progress=_silent, found={}, taken=[0], cluster=None)
        yield from spread(self.cluster, self.model, _Work(sent, compute), numbers, lambda number: f"{kind} {number}")

    def count(self, passes: int, what: str) -> None:
        """Count passes that a check took."""
        self.taken[0] += passes
        self.progress(passes, what)

    def takes(self, logits: Float[Tensor, "n classes"], label: int) -> Bool[Tensor, " n"]:
        """Return which scores decide for a class: the highest is its own, of independent scores it is above 0."""
        if self.model.head.link == "sigmoid":
            return logits[:, label] > 0
        # Scores that are NaN decide for none.
        return (logits.argmax(1) == label) & ~logits.isnan().any(1)

    def margin(self, logits: Float[Tensor, "n classes"], label: int) -> Float[Tensor, " n"]:
        """Return by how much the score of a class exceeds the highest other one; independent scores as they are."""
        own = logits[:, label]
        if self.model.head.link == "sigmoid" or logits.shape[1] == 1:
            return own
        others = logits.clone()
        others[:, label] = -torch.inf
        return own - others.amax(1)

    def shown(self, pixels: UInt8[Tensor, "n C H W"]) -> UInt8[Tensor, "n H W 3"]:
        """Return pixels as they are displayed."""
        bands = list(self.model.input.shown)
        return pixels[:, bands].permute(0, 2, 3, 1).contiguous()

    def named(self, index: Sequence[int]) -> tuple[str, ...]:
        """Return the files or names of images."""
        return tuple(self.table.names[i] for i in index)


def _silent(passes: int, what: str) -> None:
    """Report nothing."""


class _Work:
    """What a worker on another machine computes of each number."""

    def __init__(self, subject: Subject, compute: Callable[[Subject, int], Values]) -> None:
        self._subject, self._compute = subject, compute

    def __call__(self, model: Model, number: int) -> Values:
        """Return what is computed with the worker's own copy of the network."""
        return self._compute(replace(self._subject, model=model, taken=[0], found={}), number)
