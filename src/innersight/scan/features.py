"""A sample of what the last rectified layer holds of the images of a scan: what is usual for the network."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.brief import brief
from innersight.layers import has_grid, last_rectified, survey
from innersight.model import Model
from innersight.scan.scores import no_scores
from innersight.scan.statistics.bands import priority

FEATURES = 2000  # images at most


@dataclass(frozen=True, eq=False)
class Features:
    """The vectors of a random sample of the images of a scan.

    Attributes
    ----------
    layer : str
        The layer they are of: `innersight.layers.last_rectified`.
    numbers : Tensor
        (n,) int64, of the images in the scan, ascending; `Scan.records` has their names.
    values : Tensor
        (n, units) float32: mean over the layer's locations, raw.

    """

    layer: str
    numbers: Int[Tensor, " n"]
    values: Float[Tensor, "n units"]

    __repr__ = brief


class FeatureSample:
    """The mean over locations of the last rectified layer, of a uniform random sample of the images.

    Which images are in it is decided by a hash of their numbers, as in `innersight.scan.statistics.bands`; images with
    values that are not finite are never in it. layer : None for a network without class scores, or without maps
    larger than 1x1.
    """

    def __init__(self, model: Model) -> None:
        self.layer = last_rectified(model) if no_scores(model) is None and has_grid(model) else None
        self._units = next((layer.units for layer in survey(model) if layer.name == self.layer), 0)
        self.numbers = torch.zeros(0, dtype=torch.int64)
        self.values = torch.zeros(0, 0)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._bound = torch.iinfo(torch.int64).max

    def add(self, activation: Float[Tensor, "B units h w"], numbers: Int[Tensor, " B"]) -> None:
        """Add a batch. numbers : of its images."""
        chosen = (priority(numbers) < self._bound).nonzero()[:, 0]
        if not len(chosen):
            return
        means = activation[chosen].float().mean((2, 3))
        finite = means.isfinite().all(1)
        self._waiting.append((numbers[chosen][finite].cpu(), means[finite].cpu()))
        if sum(len(some) for some, _ in self._waiting) >= FEATURES:
            self._settle()

    def merge(self, numbers: Int[Tensor, " n"], values: Float[Tensor, "n units"]) -> None:
        """Add the sample of other images."""
        self._waiting.append((numbers, values))
        self._settle()

    def tensors(self) -> dict[str, Tensor]:
        """Return the sample."""
        self._settle()
        return {"numbers": self.numbers, "values": self.values}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what `tensors` returned."""
        if "numbers" in tensors:
            numbers, values = tensors["numbers"], tensors["values"]
            fits = numbers.ndim == 1 and values.ndim == 2 and len(numbers) == len(values)
            if not fits or (len(values) and values.shape[1] != self._units) or bool((numbers < 0).any()):
                raise ValueError(f"features {tuple(values.shape)} of images {tuple(numbers.shape)}")
            if (numbers.dtype, values.dtype) != (torch.int64, torch.float32) or not bool(values.isfinite().all()):
                raise ValueError(f"features that are {values.dtype}, of images that are {numbers.dtype}, or not finite")
            self.merge(numbers, values)

    def result(self) -> Features | None:
        """Return the sample; None where no layer has features, or no image any that are finite."""
        self._settle()
        if self.layer is None or not len(self.numbers):
            return None
        order = self.numbers.argsort()
        return Features(self.layer, self.numbers[order], self.values[order])

    def _settle(self) -> None:
        waiting = [part for part in self._waiting if len(part[0])]
        self._waiting = []
        if not waiting:
            return
        parts = [(self.numbers, self.values), *waiting] if len(self.numbers) else waiting
        numbers, values = (torch.cat(part) for part in zip(*parts, strict=True))
        keys = priority(numbers)
        order = keys.argsort()[:FEATURES]
        self.numbers, self.values = numbers[order], values[order]
        if len(order) == FEATURES:
            self._bound = int(keys[order[-1]])
