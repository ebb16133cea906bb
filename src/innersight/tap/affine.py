"""Affine rests: whether what follows a layer is an affine function of its output, such as pooling and one matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

Trials = tuple[Tensor, Tensor, Tensor]


def trials(activation: Float[Tensor, "B units h w"], stream: torch.Generator) -> Trials:
    """Return other outputs of a layer to try: all zeros, half of them, and the maps of other units in other places."""
    units = torch.randperm(activation.shape[1], generator=stream).to(activation.device)
    return activation * 0, activation / 2, activation[:, units].flip(2, 3)


def affine(
    activation: Float[Tensor, "B units h w"],
    slope: Float[Tensor, "B units h w"],
    values: Float[Tensor, " B"],
    tried: Trials,
    truth: tuple[Float[Tensor, " B"], ...],
) -> bool:
    """Say whether a number of each picture is an affine function of the layer's output.

    slope : its gradient there. values : the number for `activation`, and truth : for each of `tried`, from runs. They
    are compared with what the slope foretells, to 1e-4.
    """
    base = values - (slope * activation).sum((1, 2, 3))
    return all(
        torch.allclose(base + (slope * trial).sum((1, 2, 3)), found, rtol=1e-4, atol=1e-4)
        for trial, found in zip(tried, truth, strict=True)
    )
