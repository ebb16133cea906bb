"""Runs the user's network, whose errors become sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from innersight import ambient
from innersight.errors import InnersightError, printable

# What a network throws when it is fed what it does not expect.
DEFEATED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


# Whether a network writes into its input, where that is known.
_writes: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


class NetworkError(InnersightError):
    """Raised where the user's network, or the head that reads its output, fails."""


def run(net: nn.Module, x: torch.Tensor, name: str) -> Any:
    """Return what a network gives for input `x` (B, C, H, W), under the caller's defaults of torch.

    A network that writes into its input receives copies. Until it has run once every network does, which shows
    whether it writes. Raises NetworkError.
    """
    fed = x if _writes.get(net) is False else x.clone()
    version = fed._version
    try:
        with failing(f"{name} fails on an input of {tuple(x.shape)}"), ambient.callers():
            return net(fed)
    finally:
        if net not in _writes or fed._version != version:
            _writes[net] = fed._version != version


def modules_of(net: nn.Module) -> list[nn.Module]:
    """Return the network and all modules inside, each once, in the order of `net.modules()`, which takes longer."""
    found: dict[nn.Module, None] = {}
    waiting = [net]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found[module] = None
            waiting += [child for child in reversed(module._modules.values()) if child is not None]
    return list(found)


def submodule(net: nn.Module, path: str) -> nn.Module | None:
    """Return the module with a dotted name inside a network, None where there is none."""
    found: nn.Module | None = net if path else None
    for name in path.split("."):
        found = None if found is None else found._modules.get(name)
    return found


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Inside, an error of the user's network or head becomes a NetworkError that says what failed."""
    try:
        yield
    except DEFEATED as error:
        if isinstance(error, InnersightError) or no_memory(error):
            raise
        lines = str(error).strip().splitlines()
        reason = f": {printable(lines[0])[:300]}" if lines else ""
        raise NetworkError(f"{what}: {type(error).__name__}{reason}") from error


def no_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
