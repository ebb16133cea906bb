"""What could pass a network: ReLUs that block nothing, maxima that hand the gradient to all they are taken of."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from innersight.model import Model

# Flat on a part of the numbers, or as good as flat: a unit there would block every gradient.
_FLAT = {
    "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "threshold", "clamp", "clamp_min", "clamp_max", "clip",
    "hardshrink", "softshrink", "gelu", "silu", "mish", "elu", "selu", "celu", "softplus", "sigmoid", "logsigmoid",
    "tanh",
}  # fmt: skip
_NAMED: dict[Any, str] = {F.max_pool2d: "max_pool2d", F.adaptive_max_pool2d: "adaptive_max_pool2d"}
SMALL = 0.1


class linearised(TorchFunctionMode):  # noqa: N801
    """Inside, no gradient is blocked by a unit that is silent, or that another one outdoes.

    Values are unchanged. A function that is flat somewhere (ReLU, clamp, sigmoid, GELU ...) passes the gradient on as
    it comes, a maximum spreads it over all that it is taken of, a softmax takes the mean off. So where the gradient is
    not zero is what a network is wired to, whatever it is fed.

    Examples
    --------
    >>> import torch
    >>> from innersight import tap
    >>> x = torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> with tap.linearised():
    ...     output = torch.relu(x)
    >>> output.tolist(), torch.autograd.grad(output.sum(), x)[0].tolist()
    ([0.0, 2.0], [1.0, 1.0])

    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer a flat function or a maximum; anything else is passed on."""
        given = dict(kwargs or {})
        name = _name(func)
        x = args[0] if args else given.get("input", given.get("self"))
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return func(*args, **given)
        if name in _FLAT:
            return _straight(func, x, args, given)
        linear = _LINEAR.get(name)
        mean = None if linear is None else linear(x, args[1:], given)
        output = func(*args, **given)
        return output if mean is None else _with_gradient(output, mean)


class opened(TorchFunctionMode):  # noqa: N801
    """Inside, functions that are flat somewhere (ReLU, clamp ...) return what they are given: no unit is silent."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer a flat function; anything else is passed on."""
        given = dict(kwargs or {})
        x = args[0] if args else given.get("input", given.get("self"))
        flat = _name(func) in _FLAT and isinstance(x, Tensor) and x.is_floating_point()
        return x if flat else func(*args, **given)


@contextmanager
def wired(model: Model) -> Iterator[None]:
    """Inside, weights that are zero throughout are not: what a residual branch begins with does not unwire it.

    Parameters
    ----------
    model
        The network; afterwards its weights are as before.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> _ = torch.nn.init.zeros_(model.net.stage1.bn2.weight)
    >>> with tap.wired(model):
    ...     bool(model.net.stage1.bn2.weight.all())
    True
    >>> bool(model.net.stage1.bn2.weight.any())
    False

    """
    # Their memory is exchanged, not written to: a graph that the caller holds stays valid.
    zero = [(p, p.data) for p in model.net.parameters() if p.is_floating_point() and not bool(p.any())]
    try:
        for parameter, before in zero:
            parameter.data = torch.full_like(before, SMALL)
        yield
    finally:
        for parameter, before in zero:
            parameter.data = before


def _name(func: Callable[..., Any]) -> str:
    if func in _NAMED:
        return _NAMED[func]
    schema = getattr(func, "_schema", None)
    name = str(schema.name).rpartition("::")[2] if schema is not None else getattr(func, "__name__", "")
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _straight(func: Callable[..., Any], x: Tensor, args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
    copy = x.detach().clone()
    if args:
        output = func(copy, *args[1:], **given)
    else:
        output = func(**{key: copy if value is x else value for key, value in given.items()})
    passed: Tensor = output.detach() + (x - x.detach())
    # Who else holds the input of a function that writes into it sees it changed too.
    return x.copy_(passed) if output is copy else passed


def _with_gradient(output: Any, mean: Tensor) -> Any:
    """Return an output, or its first part, with the gradient of `mean`."""
    first = output if isinstance(output, Tensor) else output[0]
    if first.shape != mean.shape:
        return output
    changed = first.detach() + (mean - mean.detach())
    if isinstance(output, Tensor):
        return changed
    parts = [changed, *output[1:]]
    return tuple(parts) if type(output) is tuple else type(output)(parts)


def _over_windows(x: Tensor, rest: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor | None:
    asked = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), rest, strict=False)) | dict(given)
    if x.ndim not in (3, 4):
        return None
    kernel = _sides(asked["kernel_size"], (1, 1))
    stride = _sides(asked.get("stride"), kernel)
    padding, dilation = _sides(asked.get("padding"), (0, 0)), _sides(asked.get("dilation"), (1, 1))
    batch = x if x.ndim == 4 else x[None]
    if asked.get("ceil_mode", False):
        # The last window may stand over the edge.
        batch = F.pad(batch, (0, stride[1] - 1, 0, stride[0] - 1))
    ones = batch.new_ones(batch.shape[1], 1, *kernel)
    sums = F.conv2d(batch, ones, None, stride, padding, dilation, batch.shape[1])
    return sums if x.ndim == 4 else sums[0]


def _sides(value: Any, own: tuple[int, int]) -> tuple[int, int]:
    sides = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
    return (int(sides[0]), int(sides[-1])) if sides else own


def _over_bins(x: Tensor, rest: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    return F.adaptive_avg_pool2d(x, rest[0] if rest else given["output_size"])


def _over_axes(x: Tensor, rest: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor | None:
    asked = dict(zip(("dim", "keepdim"), rest, strict=False)) | dict(given)
    if isinstance(asked.get("dim"), Tensor) or "other" in asked:
        other = asked.get("other", asked.get("dim"))
        return (x + other) / 2 if isinstance(other, Tensor) and other.is_floating_point() else None
    dim = asked.get("dim")
    if dim is None or dim in ((), []):
        return x.mean()
    return x.mean(dim, keepdim=asked.get("keepdim", False))


def _less_mean(x: Tensor, rest: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor | None:
    dim = rest[0] if rest else given.get("dim")
    return x - x.mean(dim, keepdim=True) if isinstance(dim, int) else None


_LINEAR: dict[str, Callable[[Tensor, tuple[Any, ...], Mapping[str, Any]], Tensor | None]] = {
    "max_pool2d": _over_windows,
    "max_pool2d_with_indices": _over_windows,
    "adaptive_max_pool2d": _over_bins,
    "amax": _over_axes,
    "max": _over_axes,
    "maximum": _over_axes,
    "softmax": _less_mean,
    "_softmax": _less_mean,
    "log_softmax": _less_mean,
    "_log_softmax": _less_mean,
}
