"""Affine rests: whether what follows a layer is an affine function of its output, such as pooling and one matrix."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.quotients import precise

Trials = tuple[Tensor, Tensor, Tensor, Tensor]
SHARE = 1e-4
ROUNDING = 16
"""Units in the last place, of the sum of all terms, by which a number may be off."""


def trials(activation: Float[Tensor, "B units h w"], stream: torch.Generator) -> Trials:
    """Return other outputs of a layer to try: all zeros, half of them, the maps of other units flipped, noise.

    The noise is as large as the activations, negative only where some of them are, and 1 where the layer is silent: so
    a layer of one unit, of one location, or that is silent on these images is changed too.
    """
    units = torch.randperm(activation.shape[1], generator=stream).to(activation.device)
    noise = torch.randn(activation.shape, generator=stream).to(activation)
    noise = noise if bool((activation < 0).any()) else noise.abs()
    size = activation.abs().amax((1, 2, 3), keepdim=True)
    noise = noise * torch.where(size > 0, size, torch.ones_like(size))
    return activation * 0, activation / 2, activation[:, units].flip(2, 3), noise


def is_affine(
    slope: Float[Tensor, "rows terms"],
    activation: Float[Tensor, "B terms"],
    values: Float[Tensor, "B rows"],
    tried: Sequence[Float[Tensor, "B terms"]],
    truth: Sequence[Float[Tensor, "B rows"]],
) -> bool:
    """Return whether numbers of each image are affine functions of a layer's output, with the same slopes for all.

    slope : the gradient of each number. values : the numbers for `activation`, in the network's type, and truth : for
    each of `tried`, from runs. They are compared with what the slopes foretell, to 1e-4 of the largest change among
    them: how large the numbers themselves are says nothing of how large their changes are. NaN agrees with nothing.
    """
    eps = torch.finfo(values.dtype).eps
    slope, activation, values = precise(slope), precise(activation), precise(values)
    found = torch.stack([precise(one) for one in truth])
    base = values - activation @ slope.T
    guesses = torch.stack([base + precise(one) @ slope.T for one in tried])
    # What rounding leaves of sums of this size.
    sums = torch.stack([precise(one).abs() @ slope.T.abs() for one in (activation, *tried)]).amax(0) + values.abs()
    allowed = SHARE * (found - values).abs().amax(0) + ROUNDING * eps * sums
    return bool(((guesses - found).abs() <= allowed).all())


def affine(
    activation: Float[Tensor, "B units h w"],
    slope: Float[Tensor, "B units h w"],
    values: Float[Tensor, " B"],
    tried: Trials,
    truth: Sequence[Float[Tensor, " B"]],
) -> bool:
    """Say whether a number of each image is an affine function of the layer's output; see `is_affine`.

    slope : its gradient there. values : the number for `activation`, in the network's type, and truth : for each of
    `tried`, from runs.
    """
    return all(
        is_affine(
            slope[i : i + 1].flatten(1),
            activation[i : i + 1].flatten(1),
            values[i : i + 1, None],
            [one[i : i + 1].flatten(1) for one in tried],
            [one[i : i + 1, None] for one in truth],
        )
        for i in range(len(values))
    )
