"""Leave no trace: what every pass changes for a while and puts back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from innersight import ambient
from innersight.model import Model


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Inside: eval mode, all parameters frozen, torch as in `ambient.plain`.

    Afterwards modes, requires_grad, and torch's RNG are as before. Weights made in inference mode, which no gradient
    may pass, are replaced by copies meanwhile; parts behind torch.compile, which calls no hooks, run uncompiled.
    """
    with ambient.plain(), _differentiable(model.net), ambient.uncompiled(model.net), _frozen(model.net):
        yield


@contextmanager
def _frozen(net: nn.Module) -> Iterator[None]:
    training = [(module, module.training) for module in net.modules()]
    frozen = [p for p in net.parameters() if p.requires_grad]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            for module, _ in training:
                module.training = False
            for parameter in frozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for module, mode in training:
                module.training = mode


@contextmanager
def _differentiable(net: nn.Module) -> Iterator[None]:
    """Inside, parameters and buffers that were made in inference mode are ordinary copies."""
    copies: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for module in net.modules():
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
