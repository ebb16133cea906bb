"""What the caller has set in torch: kept away from our own computations, given back to the user's network."""

import random
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from innersight.errors import InnersightError

_DEVICES = ("cpu", "cuda", "mps", "xpu")
_PLAIN = torch.float32, torch.device("cpu")


class _Callers(threading.local):
    """The defaults that `plain` found, the outermost first."""

    def __init__(self) -> None:
        self.found: list[tuple[torch.dtype, torch.device]] = []


_callers = _Callers()


@contextmanager
def plain() -> Iterator[None]:
    """Inside, torch computes as in a fresh process: without inference mode and autocast, float32 on the CPU by default.

    So a call gives the same values wherever it is made, as in Lightning's validation loop, which is in inference mode.
    Raises InnersightError inside the transforms of `torch.func`, whose tensors have no values.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise InnersightError(
            "called inside a transform of torch.func (vmap, grad, ...): call it outside the transform"
        )
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        for device in _DEVICES:
            if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        defaults = torch.get_default_dtype(), torch.get_default_device()
        if defaults != _PLAIN:
            _callers.found.append(defaults)
            stack.callback(_callers.found.pop)
            stack.enter_context(_defaults(*_PLAIN))
        yield


@contextmanager
def callers() -> Iterator[None]:
    """Inside `plain`, the defaults of the caller again: the user's own network may make tensors by them."""
    if not _callers.found:
        yield
        return
    with _defaults(*_callers.found[0]):
        yield


@contextmanager
def uncompiled(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, none of the modules runs compiled: compiled code was traced without our hooks, and skips them."""
    if not any(stands_for_compiled(one) or getattr(one, "_compiled_call_impl", None) is not None for one in modules):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, every operation of torch passes `__torch_dispatch__`; use with `uncompiled`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch imports its compiler for every other mode, to tell it to stay away.
        return False


def stands_for_compiled(module: nn.Module) -> bool:
    """Whether a module is what `torch.compile` made of another one."""
    # Before the compiler is imported, which takes as long as torch itself, nothing can be.
    return isinstance(module, getattr(sys.modules.get("torch._dynamo"), "OptimizedModule", ()))


@contextmanager
def _defaults(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def kept_random() -> Iterator[None]:
    """Leave the random states of Python and NumPy as they were: libraries draw from them, some when imported."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
