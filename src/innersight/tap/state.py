"""Leave no trace: what every pass changes for a while and puts back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from innersight.model import Model

# What a network throws when it is fed what it does not expect.
DEFEATED = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    """Inside: eval mode, all parameters frozen. Afterwards modes, requires_grad, and torch's RNG are as before."""
    training = [(module, module.training) for module in model.net.modules()]
    frozen = [p for p in model.net.parameters() if p.requires_grad]
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
