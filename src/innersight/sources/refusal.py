"""Why a network takes no images, and the way out."""

import inspect

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from innersight.errors import InnersightError, UnusableError, printable
from innersight.heads.outputs import DOCS
from innersight.network import DEFEATED

_OTHER: dict[type[nn.Module], str] = {
    nn.Conv3d: "3D convolutions: volumes are not supported",
    nn.Conv1d: "1D convolutions: signals are not supported",
}


def check_weights(net: nn.Module) -> None:
    """Raise UnusableError for weights that are not there yet, before a pass would make or miss them."""
    name = type(net).__name__
    for key, tensor in (*net.named_parameters(), *net.named_buffers()):
        if is_lazy(tensor):
            raise UnusableError(f"{name} ({key}) is not initialised: run the network once on its own input first")
        if tensor.is_meta:
            raise UnusableError(f"{name} ({key}) has no values (device meta): load its weights first")


def refused(net: nn.Module, shape: tuple[int, int, int], one: torch.Tensor, error: InnersightError) -> InnersightError:
    """Return the error of a network that fails on images of a shape (C, H, W).

    one : an image (1, C, H, W). It is an UnusableError where no other size would help.
    """
    name = type(net).__name__
    inputs = _required(net)
    if len(inputs) > 1:
        return UnusableError(
            f"{name} takes {len(inputs)} inputs ({', '.join(inputs)}), but only images are given: wrap it in a "
            f"network that supplies the others, see {DOCS}"
        )
    convolutions = [type(module) for module in net.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    what = _OTHER.get(convolutions[0]) if convolutions and nn.Conv2d not in convolutions else None
    if what is not None:
        return UnusableError(f"{name}: {what}; wrap it in a network that takes images, see {DOCS}")
    if _takes(net, one):
        return UnusableError(f"{name} takes one image at a time; batches of several are needed, see {DOCS}")
    # What libraries say goes over many lines, with codes for colours in them.
    message = printable(" ".join(str(error).partition(": ")[2].split()))
    return InnersightError(f"{name} refuses an input of {shape}: {message}")


def _required(net: nn.Module) -> list[str]:
    """Return the names of the inputs that a network cannot do without; none where that is not known."""
    try:
        parameters = inspect.signature(net.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in plain and p.default is p.empty]


def _takes(net: nn.Module, one: torch.Tensor) -> bool:
    try:
        with torch.no_grad(), torch.random.fork_rng():
            net(one.clone())
    except DEFEATED:
        return False
    return True
