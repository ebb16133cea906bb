"""Blurred images: what replaces the parts that a method, or a test of it, hides."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SHARE = 1 / 16
"""Standard deviation of the blur that hides, as a share of the shorter side."""


def blurred(x: Float[Tensor, "B C H W"], sigma: float | None = None) -> Float[Tensor, "B C H W"]:
    """Return images blurred by a Gaussian, their edges mirrored. sigma : in pixels; by default `SHARE`."""
    count, channels, *sides = x.shape
    sigma = min(sides) * SHARE if sigma is None else sigma
    x = x.reshape(count * channels, 1, *sides)
    for dim, side in enumerate(sides, start=2):
        reach = min(side - 1, round(3 * sigma))
        at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        weight = torch.exp(-((at / sigma) ** 2) / 2)
        shape, pad = ((1, 1, -1, 1), (0, 0, reach, reach)) if dim == 2 else ((1, 1, 1, -1), (reach, reach, 0, 0))
        x = F.conv2d(F.pad(x, pad, mode="reflect"), (weight / weight.sum()).view(shape))
    return x.view(count, channels, *sides)
