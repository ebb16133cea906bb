"""Leave no trace: what every pass changes for a while and puts back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from innersight import ambient
from innersight.model import Model
from innersight.network import modules_of


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Inside, a network is in eval mode, all its parameters are frozen, and torch is as in `ambient.plain`.

    Afterwards modes, requires_grad, and torch's RNG are as before. Weights made in inference mode, which no gradient
    may pass, are replaced by copies meanwhile; parts behind torch.compile, which calls no hooks, run uncompiled.

    Parameters
    ----------
    model
        The network.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import tap
    >>> model = ins.load("small:4")
    >>> _ = model.net.train()
    >>> with tap.untouched(model):
    ...     model.net.training
    False
    >>> model.net.training
    True

    """
    modules = modules_of(model.net)
    with ambient.plain(), _differentiable(modules), ambient.uncompiled(modules), _frozen(modules):
        yield


@contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    training = [(module, module.training) for module in modules]
    parameters = (p for module in modules for p in module._parameters.values() if p is not None)
    frozen = [p for p in parameters if p.requires_grad]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            _set_modes((module, False) for module in modules)
            for parameter in frozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            _set_modes(training)


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, mode in modes:
        # To set an attribute of a module takes longer than to read hundreds.
        if module.training != mode:
            module.training = mode


@contextmanager
def _differentiable(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, parameters and buffers that were made in inference mode are ordinary copies."""
    copies: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for module in modules:
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is None or not tensor.is_inference():
                        continue
                    if id(tensor) not in copies:
                        copy = tensor.detach().clone()
                        parameter = isinstance(tensor, nn.Parameter)
                        copies[id(tensor)] = nn.Parameter(copy, requires_grad=False) if parameter else copy
                    kept: dict[str, Any] = held
                    stack.callback(kept.__setitem__, name, tensor)
                    kept[name] = copies[id(tensor)]
        yield


@contextmanager
def forwards(replacements: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Inside, each module computes its replacement in place of its `forward`."""
    with ExitStack() as stack:
        for module, forward in replacements.items():
            if "forward" in vars(module):
                stack.callback(setattr, module, "forward", module.forward)
            else:
                stack.callback(delattr, module, "forward")
            module.forward = forward
        yield
