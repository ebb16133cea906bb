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

    Parameters
    ----------
    activation
        (B, units, h, w), what the layer gave.
    stream
        Random numbers, on the CPU.

    Returns
    -------
    tuple of four Tensors
        (B, units, h, w) each. The noise is as large as the activations, negative only where some of them are, and 1
        where the layer is silent: so a layer of one unit, of one location, or that is silent on these images is changed
        too.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> zeros, half, flipped, noise = tap.trials(torch.ones(1, 2, 3, 3), torch.Generator().manual_seed(0))
    >>> float(zeros.sum()), float(half.sum()), bool((noise >= 0).all())
    (0.0, 9.0, True)

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

    Parameters
    ----------
    slope
        (rows, terms), the gradient of each number.
    activation
        (B, terms), what the layer gave.
    values
        (B, rows), the numbers for `activation`, in the network's type.
    tried
        (B, terms) each, other outputs of the layer; see `trials`.
    truth
        (B, rows) each, the numbers for each of `tried`, from runs.

    Returns
    -------
    bool
        Whether the slopes foretell the numbers, to 1e-4 of the largest change among them: how large the numbers
        themselves are says nothing of how large their changes are. NaN agrees with nothing.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> slope, x, tried = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 3.0]]), torch.tensor([[4.0, 0.0]])
    >>> tap.is_affine(slope, x, x @ slope.T + 5, [tried], [tried @ slope.T + 5])
    True
    >>> tap.is_affine(slope, x, x @ slope.T + 5, [tried], [(tried @ slope.T).square()])
    False

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
    """Return whether a number of each image is an affine function of the layer's output; see `is_affine`.

    Parameters
    ----------
    activation
        (B, units, h, w), what the layer gave.
    slope
        (B, units, h, w), the gradient of the number there.
    values
        (B,), the number for `activation`, in the network's type.
    tried
        Other outputs of the layer, as `trials` returns them.
    truth
        (B,) each, the number for each of `tried`, from runs.

    Returns
    -------
    bool
        Whether it is for all images; each may have slopes of its own.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> x = torch.rand(2, 3, 4, 4)
    >>> tried = tap.trials(x, torch.Generator().manual_seed(0))
    >>> means = [one.mean((1, 2, 3)) for one in (x, *tried)]
    >>> tap.affine(x, torch.full_like(x, 1 / 48), means[0], tried, means[1:])
    True

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
