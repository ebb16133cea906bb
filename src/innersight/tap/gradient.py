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
    """Return the gradient of `values`, weighed by `weights`, at each of `sources`.

    how : keyword arguments of `torch.autograd.grad`. Raises NetworkError where the network lets no gradient back.
    """
    if not values.requires_grad:
        raise NetworkError(f"no gradient passes back through {model.name}: {CUT}")
    with failing(f"no gradient passes back through {model.name}"):
        return torch.autograd.grad(values, list(sources), weights, **how)
