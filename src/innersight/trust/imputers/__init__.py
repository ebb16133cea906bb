"""What fills removed pixels. One file each, one registered function.

An imputer takes one network input (C, H, W) and a random stream, and returns a function from masks (n, H, W) bool of
the pixels that stay to network inputs (n, C, H, W).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from innersight.registry import Registry

Fill = Callable[[Tensor], Tensor]
Imputer = Callable[[Tensor, torch.Generator], Fill]
imputers: Registry[Imputer] = Registry("imputer", "innersight.trust.imputers")


def laid_over(x: Tensor, empty: Tensor) -> Fill:
    """Return what fills removed pixels of `x` from `empty`, both (C, H, W)."""
    return lambda kept: torch.where(kept[:, None], x, empty)
