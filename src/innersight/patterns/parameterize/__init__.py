"""How an image is written as free numbers. One file for each way."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from innersight.patterns.options import Statistics
from innersight.registry import Registry


@dataclass(frozen=True)
class Parameterization:
    """What an optimizer changes in place of pixels.

    start : the free numbers of one random image. decode : a batch of them to pixels (B, C, H, W) in 0..1.
    encode : the free numbers of an image (C, H, W) in 0..1, as near as it can be written. lr : learning rate.
    """

    start: Callable[[torch.Generator], Tensor]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    lr: float


Make = Callable[[tuple[int, int, int], Statistics], Parameterization]
parameterizations: Registry[Make] = Registry("parameterization", __name__)


def logit(pixels: Tensor) -> Tensor:
    """Undo a sigmoid; black and white become strong, not infinite."""
    return pixels.clamp(0.02, 0.98).logit()
