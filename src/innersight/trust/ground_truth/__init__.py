"""Images made so that it is known where the evidence lies, without anybody's labels. One file each.

A ground truth takes the `TrustRequest` and some of the user's images as a `Sample`, and returns a number for each map
on every image it made, or None where it cannot make any.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from innersight.registry import Registry
from innersight.trust.request import TrustRequest


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the user's images. x : (N, C, H, W) network input. probabilities : (N, classes)."""

    x: Tensor
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """What a ground truth measured. values : (made, maps). chance : (made,) what a map that knows nothing reaches.

    note : a sentence for the note under the table.
    """

    values: Tensor
    chance: Tensor
    note: str = ""


GroundTruth = Callable[[TrustRequest, Sample], Scores | None]
ground_truth: Registry[GroundTruth] = Registry(
    "ground truth", "innersight.trust.ground_truth", better="high", against="chance", made=None
)
"""An entry states which way is better, and `against`: what a map that knows nothing is called in a sentence.

made : how many images it makes at most, a function of the `TrustRequest` and the number of the user's images; None for
few.
"""
