"""Backward passes through the user's network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from innersight.model import Model
from innersight.network import NetworkError, failing

CUT = "its forward cuts the graph, as torch.no_grad, detach and step functions do"


def gradients(
    model: Model, values: Tensor, sources: Sequence[Tensor], weights: Tensor | None = None, **how: Any
) -> tuple[Any, ...]:
    """Return the gradient of values at tensors that they were computed from.

    Parameters
    ----------
    model
        The network that computed them; errors name it.
    values
        What is differentiated.
    sources
        Tensors of the graph.
    weights
        Of the shape of `values`, what each counts; may be left out for a single number.
    **how
        Keyword arguments of `torch.autograd.grad`.

    Returns
    -------
    tuple of Tensor
        One for each of `sources`, of its shape.

    Raises
    ------
    NetworkError
        Where the network lets no gradient back.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> with tap.untouched(model):
    ...     x = torch.rand(1, *model.input.shape, requires_grad=True)
    ...     (gradient,) = tap.gradients(model, model.logits(x)[0, 3], [x])
    >>> gradient.shape
    torch.Size([1, 3, 80, 80])

    """
    if not values.requires_grad:
        raise NetworkError(f"no gradient passes back through {model.name}: {CUT}")
    with failing(f"no gradient passes back through {model.name}"):
        return torch.autograd.grad(values, list(sources), weights, **how)
