"""What takes the place of removed pixels. One file each, one registered function.

A replacement takes one network input (C, H, W) and a random stream, and returns what fills it: a function from masks
(n, H, W) bool of the pixels that stay to network inputs (n, C, H, W).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from innersight.registry import Registry

Fill = Callable[[Tensor], Tensor]
Replacement = Callable[[Tensor, torch.Generator], Fill]
replacements: Registry[Replacement] = Registry("replacement", "innersight.trust.replacements")


def laid_over(x: Tensor, empty: Tensor) -> Fill:
    """Return what fills removed pixels of `x` from `empty`, both (C, H, W)."""
    return lambda kept: torch.where(kept[:, None], x, empty)
