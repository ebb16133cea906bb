"""Every public function leaves network and random generators as they were, whatever happens inside."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import NETS, image, tiny
from public import CASES, QUICK, WITHOUT_A_NETWORK
from torch import Tensor, nn

import innersight as ins
from innersight.heatmaps.request import UnfitError, methods
from innersight.image import Image
from innersight.model import Model

SLOWER: dict[str, dict[str, Any]] = {name: {"samples": 8, "cells": 2} for name in ("lime", "kernel-shap")}


def test_every_public_function_has_a_case() -> None:
    functions = {name for name in ins.__all__ if name != "__version__" and not isinstance(getattr(ins, name), type)}
    assert functions - WITHOUT_A_NETWORK == set(CASES)


class Fault:
    """Counts forward passes of convolutions, and breaks one of them, or its backward pass, when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.at: int | None = None
        self.error: type[BaseException] = ZeroDivisionError
        self.backward = False


class _Breaks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fault: Fault) -> Tensor:
        ctx.fault = fault
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.fault.calls += 1
        if ctx.fault.calls == ctx.fault.at:
            raise ctx.fault.error("inside backward")
        return gradient, None


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    original = nn.Conv2d.forward

    def forward(self: nn.Conv2d, x: Tensor) -> Tensor:
        if fault.backward:
            return _Breaks.apply(original(self, x), fault)
        fault.calls += 1
        if fault.calls == fault.at:
            raise fault.error("inside forward")
        return original(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    return fault


def dishevel(model: Model) -> None:
    """Bring the network into a state that a careless restore would not give back."""
    net = model.net
    net.train()
    next(m for m in net.modules() if isinstance(m, nn.Conv2d)).eval()
    for i, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(i % 3 != 1)
        if i % 2:
            parameter.grad = torch.full_like(parameter, 0.5)
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda *_: None)
    last = list(net.modules())[-1]
    last.forward = last.forward


HOOKS = [key for key in vars(nn.Module()) if "hooks" in key]


def _is_hooks(key: str, value: object) -> bool:
    return key.startswith("_global") and isinstance(value, dict)


def state(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "torch rng": torch.get_rng_state().tolist(),
        "numpy rng": repr(np.random.get_state()),
        "python rng": random.getstate(),
        "state_dict": {k: (v.dtype, v.clone()) for k, v in model.net.state_dict().items()},
        "defaults": (torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
        "global hooks": {key: len(value) for key, value in vars(nn.modules.module).items() if _is_hooks(key, value)},
    }
    for name, module in model.net.named_modules():
        found[f"{name} mode"] = module.training
        found[f"{name} hooks"] = {key: dict(vars(module)[key]) for key in HOOKS}
        found[f"{name} attributes"] = sorted(vars(module))
        found[f"{name} forward"] = vars(module).get("forward")
    for name, parameter in model.net.named_parameters():
        found[f"{name} requires_grad"] = parameter.requires_grad
        found[f"{name} identity"] = id(parameter)
        found[f"{name} grad"] = None if parameter.grad is None else (id(parameter.grad), parameter.grad.tolist())
    return found


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    before = state(model)
    try:
        yield
    finally:
        after = state(model)
        assert after.keys() == before.keys()
        for key, value in before.items():
            if key == "state_dict":
                for name, (dtype, tensor) in value.items():
                    assert after[key][name][0] == dtype, name
                    assert torch.equal(after[key][name][1], tensor), name
            else:
                assert after[key] == value, key


def prepare(net: str) -> tuple[Model, list[Image]]:
    model = tiny(net)
    dishevel(model)
    return model, [image(1), image(2)]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_behind(name: str, net: str, tmp_path: Path) -> None:
    model, images = prepare(net)
    for grad in (True, False):
        with torch.set_grad_enabled(grad), unchanged(model):
            CASES[name](model, images, tmp_path)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_behind_by_a_broken_forward(
    name: str, error: type[BaseException], fault: Fault, tmp_path: Path
) -> None:
    model, images = prepare("dense")
    fault.error = error
    broken = 0
    while True:
        # Every early call, then ever larger steps: a study makes hundreds.
        fault.calls, fault.at = 0, 1 + broken if broken < 6 else 2 ** (broken - 3)
        with unchanged(model):
            try:
                CASES[name](model, images, tmp_path / str(broken))
            except error:
                broken += 1
            else:
                break
    assert broken > 2 or name == "load"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["explain", "patterns", "study", "trust"])
def test_nothing_is_left_behind_by_a_broken_backward(
    name: str, error: type[BaseException], fault: Fault, tmp_path: Path
) -> None:
    model, images = prepare("in-place")
    fault.error, fault.backward = error, True
    for at in (1, 2):
        fault.calls, fault.at = 0, at
        with unchanged(model), pytest.raises(error, match="inside backward"):
            CASES[name](model, images, tmp_path)


@pytest.mark.parametrize("name", list(methods))
def test_each_heatmap_method_alone_leaves_nothing(name: str, any_tiny: Model) -> None:
    if methods.entry(name).reads == "captum" and any_tiny.name not in ("tiny in-place", "tiny grey", "tiny noisy"):
        pytest.skip("Captum's own methods are not ours to test on every network")
    dishevel(any_tiny)
    options = {name: (QUICK | SLOWER).get(name, {})}
    with unchanged(any_tiny), suppress(UnfitError):
        ins.explain(any_tiny, [image(3)], "cedar", [name], options=options)


def test_a_missing_restore_is_noticed() -> None:
    model, _ = prepare("in-place")
    for spoil in (
        lambda: model.net.head.eval(),
        lambda: model.net.head.weight.requires_grad_(not model.net.head.weight.requires_grad),
        lambda: model.net.conv2.register_forward_hook(print),
        lambda: setattr(model.net.conv2, "forward", print),
        lambda: model.net.bn1.running_mean.add_(1),
        lambda: torch.rand(1),
        lambda: np.random.rand(1),
        lambda: random.random(),
        lambda: setattr(model.net.conv1.weight, "grad", torch.zeros_like(model.net.conv1.weight)),
    ):
        with pytest.raises(AssertionError), unchanged(model):
            spoil()
