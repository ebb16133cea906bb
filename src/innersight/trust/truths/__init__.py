"""What is known to be true without anybody's labels: heatmaps on images made for the purpose. One file each.

A truth takes `Asked` and the user's images as `Seen`, and returns a number for each map on every image it made, or
None where it cannot make any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from innersight.registry import Registry

if TYPE_CHECKING:
    from innersight.trust.request import Asked


@dataclass(frozen=True, eq=False)
class Seen:
    """Images of the user. x : (N, C, H, W) network input. probabilities : (N, classes)."""

    x: Tensor
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """What a truth found. values : (made, maps). chance : (made,) what a map that knows nothing reaches.

    facts : numbers for the note under the table.
    """

    values: Tensor
    chance: Tensor
    facts: Mapping[str, float] = field(default_factory=dict)


Truth = Callable[["Asked", Seen], Found | None]
truths: Registry[Truth] = Registry("truth", "innersight.trust.truths", better="high", against=None)
"""An entry states which way is better, and against what a map is measured there: what a map that knows nothing is."""
