"""What a statistic is told about the layer it is for, and what it must be able to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from innersight.scan.seen import Seen


@dataclass(frozen=True)
class Room:
    """The sizes that the memory of a statistic depends on; the number of images is none of them.

    units : of the layer. keep : images kept at either end. alike : at most so many of those are nearly the same.
    classes : of the model. device : where they are counted.
    layer : its name. partners : layers reached no later than it with whose units its own are correlated. class_maps :
    whether the mean map of each class is wanted.
    """

    units: int
    keep: int
    alike: int
    classes: int
    device: torch.device
    layer: str = ""
    partners: tuple[str, ...] = ()
    class_maps: bool = False


class Statistic(Protocol):
    """One statistic of one layer, over some images.

    Merging is associative but for the rounding of sums, and for images that are nearly the same. Shards that are
    merged in order give the same bytes, whoever computed them and however often the work was interrupted.
    """

    def add(self, seen: Seen) -> None:
        """Take in one batch, whose images come after all those that were taken in or expected before."""

    def merge(self, later: Any) -> None:
        """Take in what another one of its kind saw of later images."""

    def tensors(self) -> dict[str, Tensor]:
        """Return all there is to know, to be stored."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""


@runtime_checkable
class Choosy(Protocol):
    """A statistic that can leave out images sooner when it knows what was kept of earlier ones."""

    def expect(self, before: Any) -> None:
        """Leave out what merging with `before`, of earlier images, would throw away; the result of it is the same."""
