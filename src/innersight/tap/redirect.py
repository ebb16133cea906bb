"""ReLUs with another way back: up to silent units, and the guided rule of heatmaps."""

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
_CLAMPS = (torch.clamp, Tensor.clamp, torch.clamp_, Tensor.clamp_, torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_)
_WRITING = (F.relu_, torch.relu_, Tensor.relu_, torch.clamp_, Tensor.clamp_, Tensor.clamp_min_)
_INPLACE_AT: dict[Callable[..., Any], int] = {F.relu: 1, F.relu6: 1, F.hardtanh: 3, F.threshold: 3}
"""Where functions that may write into their input take the word for it."""


class _Rectifier(TorchFunctionMode):
    """Inside, ReLU and ReLU6, as modules, functions or clamps at 0, are answered by `rectify`."""

    def rectify(self, x: Tensor, high: float) -> Tensor:
        """Return values held between 0 and an upper bound.

        Parameters
        ----------
        x
            What goes into the ReLU.
        high
            The upper bound: infinity for ReLU, 6 for ReLU6.

        """
        raise NotImplementedError

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer a ReLU in place of torch; anything else is passed on."""
        given = kwargs or {}
        high = _bound(func, args, given)
        if high is None:
            return func(*args, **given)
        x = args[0] if args else given["input"]
        if not x.is_floating_point():
            return func(*args, **given)
        if not _in_place(func, args, given):
            return self.rectify(x, high)
        # Who else holds the input sees it rectified too, as without the mode.
        output = self.rectify(x.clone(), high)
        x.copy_(output)
        self.renamed(output, x)
        return x

    def renamed(self, output: Tensor, x: Tensor) -> None:
        """Take note that what `rectify` returned is now in the tensor it was given, as where a ReLU works in place.

        Parameters
        ----------
        output
            What `rectify` returned.
        x
            The tensor that holds its values now.

        """


class redirected(_Rectifier):  # noqa: N801
    """Inside, a ReLU that would block the whole gradient of an image lets through what would raise its output.

    So a unit that is silent on random pixels can still be climbed to. Values are unchanged. Covers ReLU and ReLU6 as
    modules, functions, clamps and thresholds at 0 (as in Lucid, Olah et al. 2017).

    Parameters
    ----------
    rows
        The images of the batch, by number, for which this is done; all of them when None.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> x = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    >>> with tap.redirected():
    ...     output = torch.relu(x)
    >>> output, torch.autograd.grad(-output.sum(), x)
    (tensor([[0., 0.]], grad_fn=<_RedirectedBackward>), (tensor([[-1., -1.]]),))

    """

    def __init__(self, rows: Tensor | None = None) -> None:
        super().__init__()
        self._rows = rows
        self._inputs: dict[int, tuple[Tensor, Tensor]] = {}

    def unrectified(self, activation: Tensor) -> Tensor:
        """Return what went into a ReLU.

        Parameters
        ----------
        activation
            What the ReLU gave.

        Returns
        -------
        torch.Tensor
            What it was given; `activation` itself where no ReLU gave it.

        """
        output, given = self._inputs.get(activation.data_ptr(), (None, None))
        return given if output is not None and given is not None and output.shape == activation.shape else activation

    def forget(self) -> None:
        """Let go of the tensors of the pass before."""
        self._inputs.clear()

    def rectify(self, x: Tensor, high: float) -> Tensor:
        """Answer a ReLU."""
        output: Tensor = _Redirected.apply(x, high, self._rows)
        self._inputs[output.data_ptr()] = output, x
        return output

    def renamed(self, output: Tensor, x: Tensor) -> None:
        """Take note of the tensor that holds an output."""
        _, given = self._inputs.pop(output.data_ptr())
        self._inputs[x.data_ptr()] = x, given


class guided(_Rectifier):  # noqa: N801
    """Inside, a ReLU lets back only what would raise the target: the rule of guided backpropagation.

    Values are unchanged. Covers ReLU and ReLU6, as `redirected` does.

    Attributes
    ----------
    found : int
        How many ReLUs were passed.

    Notes
    -----
    Springenberg et al. 2014 (arXiv:1412.6806).

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> x = torch.tensor([1.0, 2.0, -3.0], requires_grad=True)
    >>> with tap.guided() as rule:
    ...     (gradient,) = torch.autograd.grad(torch.relu(x), x, torch.tensor([1.0, -1.0, 1.0]))
    >>> gradient.tolist(), rule.found
    ([1.0, 0.0, 0.0], 1)

    """

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def rectify(self, x: Tensor, high: float) -> Tensor:
        """Answer a ReLU."""
        self.found += 1
        output: Tensor = _Guided.apply(x, high)
        return output


def _bound(func: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any]) -> float | None:
    """Return the highest value a ReLU lets through, None for any other function."""
    if func is F.hardtanh:
        # What the module ReLU6 calls.
        asked = dict(zip(("input", "min_val", "max_val"), args, strict=False)) | dict(given)
        return float(asked.get("max_val", 1.0)) if asked.get("min_val", -1.0) == 0 else None
    if func in _CLAMPS:
        asked = dict(zip(("input", "min", "max"), args, strict=False)) | dict(given)
        low, high = asked.get("min"), asked.get("max")
        plain = isinstance(low, int | float) and low == 0 and (high is None or isinstance(high, int | float))
        return (torch.inf if high is None else float(high)) if plain else None
    if func is F.threshold:
        asked = dict(zip(("input", "threshold", "value"), args, strict=False)) | dict(given)
        return torch.inf if asked["threshold"] == 0 and asked["value"] == 0 else None
    return _HIGH.get(func)


def _in_place(func: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any]) -> bool:
    """Whether a ReLU writes into its input."""
    if func in _WRITING:
        return True
    at = _INPLACE_AT.get(func)
    return bool(given.get("inplace", at is not None and len(args) > at and args[at]))


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        ctx.high = high
        ctx.save_for_backward(x)
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        return _rectified(gradient.clamp(min=0), x, ctx.high), None


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float, rows: Tensor | None) -> Tensor:
        ctx.high, ctx.rows = high, rows
        ctx.save_for_backward(x)
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,), (gradient,), rows = ctx.saved_tensors, gradients, ctx.rows
        plain = _rectified(gradient, x, ctx.high)
        own = plain if rows is None else plain[rows]
        blocked = own.flatten(1).abs().amax(1) == 0
        # Descent raises the output where the gradient is negative.
        raising = (gradient if rows is None else gradient[rows]).clamp(max=0)
        passed = torch.where(blocked.view(-1, *[1] * (x.ndim - 1)), raising, own)
        if rows is None:
            return passed, None, None
        return plain.index_copy_(0, rows, passed), None, None


def _rectified(gradient: Tensor, x: Tensor, high: float) -> Tensor:
    """Return a new gradient: that of a ReLU which lets `x` through between 0 and an upper bound."""
    # One pass over memory in place of four.
    found: Tensor = torch.ops.aten.hardtanh_backward(gradient, x, 0, high)
    return found
