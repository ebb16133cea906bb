"""Quotients of values of unknown size: exact from the smallest numbers to the largest, without a constant to protect.

A constant added to a denominator, or a floor under it, says something about the size of activations and gradients, and
nobody knows that: behind average pooling a gradient is 1e-8 and below. Only exactly zero is an exception.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

OUTLYING = 1e4


def precise(values: Tensor) -> Tensor:
    """Return values in float64; in float32 on Apple's accelerator, which has nothing wider."""
    return values.float() if values.device.type == "mps" else values.double()


def quotient(top: Tensor, bottom: Tensor, otherwise: float = 0.0) -> Tensor:
    """Return `top / bottom`, and `otherwise`, without a gradient, where `bottom` is exactly zero."""
    zero = bottom == 0
    return (top / bottom.masked_fill(zero, 1)).masked_fill(zero, otherwise)


def scaled(values: Float[Tensor, "*_n"], dim: int | tuple[int, ...]) -> Float[Tensor, "*_n"]:
    """Return values divided by the largest size along `dim`, -1 to 1; what is zero everywhere stays zero.

    The divisor counts as a constant for gradients: for functions that do not depend on the scale this is exact.
    """
    return quotient(values, values.detach().abs().amax(dim, keepdim=True))


def normalised(values: Float[Tensor, "*_n"], dim: int | tuple[int, ...]) -> Float[Tensor, "*_n"]:
    """Return values divided by their L2 norm along `dim`; what is zero everywhere stays zero, without a gradient."""
    even = scaled(values, dim)
    return quotient(even, even.norm(dim=dim, keepdim=True))


def cosine(one: Float[Tensor, "*_n"], other: Float[Tensor, "*_n"], dim: int = 1) -> Tensor:
    """Return the cosine of the angle between vectors along `dim`, -1 to 1; 0 where one of them is zero."""
    return (normalised(one, dim) * normalised(other, dim)).sum(dim)


def outlying(sizes: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Return which sizes are more than 10,000, and 10,000 times the smallest that is not zero.

    By scores of -1e9 networks rule classes out: a tolerance that is a share of the largest score would pass anything.
    That score is written into a network, whatever the size of the others. A size near zero is not what the others are
    measured by: it is the log probability of a class that is nearly certain.

    >>> outlying(torch.tensor([0.0, 2.0, 5.0, 1e9])).tolist()
    [False, False, False, True]
    >>> outlying(torch.tensor([1e-5, 9.0, 12.0])).tolist()
    [False, False, False]
    """
    some = sizes[sizes > 0]
    return sizes > OUTLYING * some.amin().clamp(min=1) if len(some) else torch.zeros_like(sizes, dtype=torch.bool)
