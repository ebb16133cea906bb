"""The first batch norm that was trained: the values it is used to, and those that arrive."""

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from innersight.model import Model
from innersight.nested import leaves
from innersight.tap.passes import Reached

# Of torch and of Keras.
_KEPT = (("running_mean", "running_var"), ("moving_mean", "moving_variance"))


@dataclass(frozen=True)
class Arriving:
    """What reaches a batch norm, by unit, away from the edges; float64.

    Attributes
    ----------
    layer : str
        The batch norm.
    mean : Tensor
        (units,) mean of the values that reach it.
    var : Tensor
        (units,) variance of the values that reach it.
    used_to : (Tensor, Tensor)
        The mean and the variance, (units,) each, that it keeps from training.

    """

    layer: str
    mean: Float[Tensor, " units"]
    var: Float[Tensor, " units"]
    used_to: tuple[Float[Tensor, " units"], Float[Tensor, " units"]]


def arriving(model: Model, x: Float[Tensor, "B C H W"]) -> Arriving | None:
    """Return what reaches the first trained batch norm of a network; the pass ends there.

    Parameters
    ----------
    model
        The network.
    x
        (B, C, H, W) network input.

    Returns
    -------
    Arriving or None
        None where no batch norm was trained: it still has the mean 0 and the variance 1 it began with.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("toon")
    >>> with tap.untouched(model), torch.no_grad():
    ...     found = tap.arriving(model, torch.zeros(1, *model.input.shape))
    >>> found.layer, len(found.mean)
    ('stem.1', 32)

    """
    found: list[Arriving] = []

    def look(kept: tuple[Tensor, Tensor], layer: str, given: Any) -> None:
        values = next((leaf for _, leaf in leaves(list(given)) if leaf.is_floating_point()), None)
        units = len(kept[0])
        if values is None or values.ndim < 2 or units not in (values.shape[1], values.shape[-1]):
            return
        last = values.shape[1] != units
        maps = values if last else values.movedim(1, -1)
        if maps.ndim == 4:
            # Behind a padding of zeros the edges are another thing than the image.
            y, x_ = maps.shape[1] // 8, maps.shape[2] // 8
            maps = maps[:, y : maps.shape[1] - y, x_ : maps.shape[2] - x_]
        rows = maps.reshape(-1, units).double()
        found.append(Arriving(layer, rows.mean(0), rows.var(0, correction=0), kept))
        raise Reached

    norms = [(name, module, kept) for name, module in model.net.named_modules() if (kept := _kept(module)) is not None]
    if not norms:
        return None
    with ExitStack() as stack:
        for name, module, kept in norms:
            hook = lambda _module, given, kept=kept, name=name: look(kept, name, given)  # noqa: E731
            stack.callback(module.register_forward_pre_hook(hook).remove)
        with suppress(Reached):
            model.output(x)
    return found[0] if found else None


def _kept(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    for mean_name, var_name in _KEPT:
        mean, var = (getattr(module, name, None) for name in (mean_name, var_name))
        # A variable of Keras holds its tensor.
        mean, var = (getattr(one, "value", one) for one in (mean, var))
        if isinstance(mean, Tensor) and isinstance(var, Tensor) and mean.ndim == 1:
            fresh = not bool(mean.any()) and bool((var == 1).all())
            return None if fresh else (mean.detach().double(), var.detach().double())
    return None
