"""One image with its maps, as metrics get it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.image import Image
from innersight.model import Model
from innersight.trust.baselines import baselines
from innersight.trust.faithfulness import Curves, enlarged, ranking
from innersight.trust.likeness import Maps, flattened


@dataclass(eq=False)
class Case:
    """One image with its maps, as metrics get it.

    x : (C, H, W) network input. target : number of the class explained. own : the maps of the methods, raw. others :
    those of the same methods under other conditions, by name, see `trust.conditions`. region : (H, W) bool where the
    class is seen, if known. steps : portions in which pixels are removed. rng : the image's own random stream. curves :
    of all maps, probability and logit (maps, steps + 1, 2), once they are known.
    """

    model: Model
    image: Image
    x: Tensor
    target: int
    own: Maps
    others: Mapping[str, Maps]
    region: Bool[Tensor, "H W"] | None
    steps: int
    rng: np.random.Generator
    seed: int = 0
    curves: Curves | None = field(default=None)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        return self.model.input.height, self.model.input.width

    @cached_property
    def values(self) -> Maps:
        """The maps of the methods, and then those of the baselines."""
        return [*self.own, *baseline_maps(self.model, self.x, self.rng)]

    @cached_property
    def wide(self) -> Float[Tensor, "maps H W"]:
        """All maps at the network's input size, each divided by its largest value."""
        return widened(self.values, self.size)

    @cached_property
    def _ties(self) -> int:
        return int(self.rng.integers(2**31))

    def ranking(self, value: Float[Tensor, "h w"]) -> tuple[Int[Tensor, "H W"], bool]:
        """Return each pixel's rank, and whether the map ranks anything; see `faithfulness.ranking`.

        Equal values are in the same random order in all maps of the image, so that equal maps ask for the same passes.
        """
        return ranking(value, self.size, np.random.default_rng(self._ties))

    @cached_property
    def _ranked(self) -> list[tuple[Tensor, bool]]:
        return [self.ranking(value) for value in self.values]

    @cached_property
    def orders(self) -> Int[Tensor, "maps H W"]:
        """The rank of every pixel in every map, 0 for the highest value."""
        return torch.stack([ranks for ranks, _ in self._ranked])

    @property
    def empty(self) -> Bool[Tensor, " maps"]:
        """Which maps rank nothing: constant, or not numbers."""
        return torch.tensor([not ranks for _, ranks in self._ranked])

    @cached_property
    def grid(self) -> Float[Tensor, "methods locations"]:
        """The maps of the methods on one common grid."""
        return flattened(self.own)


def baseline_maps(model: Model, x: Float[Tensor, "C H W"], rng: np.random.Generator) -> Maps:
    """Return the maps that know nothing of the network."""
    pixels = model.input.denormalise(x[None])[0].clamp(0, 1)
    return [baselines[name](pixels, rng) for name in baselines]


def widened(values: Maps, size: tuple[int, int]) -> Float[Tensor, "maps H W"]:
    """Return maps as `enlarged` does, at the network's input size; values that are not numbers become 0."""
    return torch.stack([enlarged(value.nan_to_num(0, 0, 0), size) for value in values])
