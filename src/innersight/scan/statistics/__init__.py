"""What a scan keeps of every layer. One file each, one registered function or two.

A statistic is a function of `LayerSettings` that returns an empty `Statistic`, which adds batches, merges with that
of later images, and can be stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from innersight.registry import Registry
from innersight.scan.layer_batch import LayerBatch


@dataclass(frozen=True)
class LayerSettings:
    """What the memory of a statistic depends on; the number of images is not part of it.

    units : of the layer. keep : images kept at either end. max_duplicates : at most this many of those are
    near-duplicates of each other. classes : of the model. device : where the sums are held. layer : its name.
    partners : layers reached no later than it with whose units its own are correlated. class_maps : whether the mean
    map of each class is wanted.
    """

    units: int
    keep: int
    max_duplicates: int
    classes: int
    device: torch.device
    layer: str = ""
    partners: tuple[str, ...] = ()
    class_maps: bool = False


class Statistic(Protocol):
    """One statistic of one layer, over some images.

    Merging is associative except for the rounding of sums, and for near-duplicates. Shards that are merged in order
    give the same bytes, whichever machine computed them and however often the scan was interrupted.
    """

    def add(self, batch: LayerBatch) -> None:
        """Add a batch, whose images come after all those added or pruned by before."""

    def merge(self, later: Any) -> None:
        """Add what another one of its kind holds of later images."""

    def tensors(self) -> dict[str, Tensor]:
        """Return everything it holds, to be stored."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what `tensors` returned."""


@runtime_checkable
class Prunable(Protocol):
    """A statistic that can reject images sooner when it knows what was kept of earlier ones."""

    def prune(self, before: Any) -> None:
        """Reject what merging with `before`, of earlier images, would drop; the merged result is the same."""


Maker = Callable[[LayerSettings], Statistic]
statistics: Registry[Maker] = Registry("statistic", "innersight.scan.statistics", requested_by="")
"""Beside its title, an entry states:

- requested_by : the option of `innersight.scan` without which it stays empty; none where it is always computed.
"""
