"""Redirected ReLUs: a way up for units that are silent."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_HIGH: dict[Callable[..., Any], float] = {
    F.relu: torch.inf,
    F.relu_: torch.inf,
    torch.relu: torch.inf,
    torch.relu_: torch.inf,
    Tensor.relu: torch.inf,
    Tensor.relu_: torch.inf,
    F.relu6: 6.0,
}


class redirected(TorchFunctionMode):  # noqa: N801
    """Inside, a ReLU that would block the whole gradient of a picture lets through what would raise its output.

    So a unit that is silent on random pixels can still be climbed to. Values are unchanged. Covers ReLU and ReLU6 as
    modules and as functions (as in Lucid, Olah et al. 2017).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer a ReLU in place of torch; anything else is passed on."""
        given = kwargs or {}
        if (
            func is F.hardtanh
            and (given.get("min_val"), given.get("max_val")) == (None, None)
            and args[1:3] == (0.0, 6.0)
        ):
            return _Redirected.apply(args[0], 6.0)
        high = _HIGH.get(func)
        if high is not None:
            return _Redirected.apply(args[0] if args else given["input"], high)
        return func(*args, **given)


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        ctx.high = high
        ctx.save_for_backward(x)
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        plain = gradient * ((x > 0) & (x < ctx.high))
        blocked = ~plain.flatten(1).any(1).view(-1, *[1] * (x.ndim - 1))
        # Descent raises the output where the gradient is negative.
        return torch.where(blocked, gradient.clamp(max=0), plain), None
