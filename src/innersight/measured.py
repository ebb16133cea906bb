"""What is measured once for a network, and again as soon as its weights or modules are others."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from innersight.model import Inserted, Model
from innersight.network import modules_of

T = TypeVar("T")
SAMPLED = 8  # tensors of which some values are compared
VALUES = 4


@dataclass
class _Kept:
    """What was measured of a network, and the state that it had.

    state : None before it was looked at. inserted : what was measured with further layers, which ends with the last.
    """

    state: Hashable = None
    values: dict[Hashable, Any] = field(default_factory=dict)
    inserted: "WeakKeyDictionary[Inserted, dict[Hashable, Any]]" = field(default_factory=WeakKeyDictionary)


_kept: "WeakKeyDictionary[Model, _Kept]" = WeakKeyDictionary()


class _Call(local):
    """Whether this thread is inside a public function."""

    inside = False


_call = _Call()


def once(model: Model, key: Hashable, measure: Callable[[], T]) -> T:
    """Return what `measure` returns, which is called once for a Model while its network stays the same.

    key : what is measured. What is returned is shared: it must not be changed.
    """
    # Of the plain network, so that what is measured does not end with a Model that has further layers for one call.
    kept = _kept.setdefault(model.plain or model, _Kept())
    values, full = kept.values, key
    if model.inserted:
        values, full = kept.inserted.setdefault(model.inserted[-1], {}), (key, tuple(map(ref, model.inserted)))
    if full not in values:
        values[full] = measure()
    found: T = values[full]
    return found


@contextmanager
def current(models: Iterable[Model]) -> Iterator[None]:
    """Inside, what is measured of networks is of these as they are now: what was measured before a change is dropped.

    For the call of a public function: within one, nobody but us changes a network, and puts it back.
    """
    if _call.inside:
        yield
        return
    for model in {one.plain or one for one in models}:
        state = network_state(model.net)
        if _kept.setdefault(model, _Kept(state)).state != state:
            _kept[model] = _Kept(state)
    _call.inside = True
    try:
        yield
    finally:
        _call.inside = False


def network_state(net: nn.Module) -> Hashable:
    """Return what differs as soon as a module, a parameter or a buffer of a network is another, or was written to.

    Writing through `.data` does not count as writing in torch: some values of some tensors are compared as well, as
    whoever loads weights in this way changes all of them.
    """
    found: list[Hashable] = []
    tensors = []
    for module in modules_of(net):
        found.append(id(module))
        for held in (module._parameters, module._buffers):
            for tensor in held.values():
                if tensor is not None:
                    # Tensors made in inference mode count no writes.
                    version = -1 if tensor.is_inference() else tensor._version
                    found += (id(tensor), version, _address(tensor))
                    tensors.append(tensor)
    return tuple(found), _sample(tensors)


def _address(tensor: torch.Tensor) -> int:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # a tensor subclass or lazy parameter without storage
        return 0


def _readable(tensor: torch.Tensor) -> bool:
    """Say whether the values are numbers in memory: not on the meta device, sparse, quantized or complex."""
    there = tensor.numel() > 0 and not tensor.is_meta and tensor.layout == torch.strided
    return there and not tensor.is_quantized and not tensor.is_complex()


def _sample(tensors: list[torch.Tensor]) -> bytes:
    some = tensors[:: max(1, len(tensors) // SAMPLED)]
    plain = [one for one in some if type(one) in (nn.Parameter, torch.Tensor) and _readable(one)]
    values = [one.detach().reshape(-1)[:: max(1, one.numel() // VALUES)][:VALUES].double().cpu() for one in plain]
    return torch.cat(values).numpy().tobytes() if values else b""
