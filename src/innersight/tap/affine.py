"""Affine rests: whether what follows a layer is an affine function of its output, such as pooling and one matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

Trials = tuple[Tensor, Tensor, Tensor, Tensor]


def trials(activation: Float[Tensor, "B units h w"], stream: torch.Generator) -> Trials:
    """Return other outputs of a layer to try: all zeros, half of them, the maps of other units in other places, noise.

    The noise is as large as the activations, negative only where some of them are, and 1 where the layer is silent: so
    a layer of one unit, of one place, or that is silent on these images is changed too.
    """
    units = torch.randperm(activation.shape[1], generator=stream).to(activation.device)
    noise = torch.randn(activation.shape, generator=stream).to(activation)
    noise = noise if bool((activation < 0).any()) else noise.abs()
    size = activation.abs().amax((1, 2, 3), keepdim=True)
    noise = noise * torch.where(size > 0, size, torch.ones_like(size))
    return activation * 0, activation / 2, activation[:, units].flip(2, 3), noise


def affine(
    activation: Float[Tensor, "B units h w"],
    slope: Float[Tensor, "B units h w"],
    values: Float[Tensor, " B"],
    tried: Trials,
    truth: tuple[Float[Tensor, " B"], ...],
) -> bool:
    """Say whether a number of each picture is an affine function of the layer's output.

    slope : its gradient there. values : the number for `activation`, and truth : for each of `tried`, from runs. They
    are compared with what the slope foretells, to 1e-4 of the largest change among them.
    """
    base = values - (slope * activation).sum((1, 2, 3))
    foretold = torch.stack([base + (slope * trial).sum((1, 2, 3)) for trial in tried])
    found = torch.stack(truth)
    allowed = 1e-4 * (found - values).abs().amax(0)
    # What rounding leaves of sums of this size.
    sums = torch.stack([(slope * trial).abs().sum((1, 2, 3)) for trial in (activation, *tried)]).amax(0) + values.abs()
    return bool(((foretold - found).abs() <= allowed + 16 * torch.finfo(values.dtype).eps * sums).all())
