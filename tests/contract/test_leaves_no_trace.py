"""Every public function leaves network and random generators as they were, whatever happens inside."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import NETS, image, tiny
from public import CASES, WITHOUT_A_NETWORK
from torch import Tensor, nn
from untouched import dishevel, unchanged

import innersight as ins
from innersight.image import Image
from innersight.model import Model

# Studies, tests of heatmaps and scans repeat what the other cases cover, so three networks do: the plainest, one
# that overwrites what it reads again, and one that draws random numbers.
THREE = ("in-place", "dense", "noisy")
ON_THREE = {"interpretability", "scan", "study", "trust"}


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


def prepare(net: str) -> tuple[Model, list[Image]]:
    model = tiny(net)
    dishevel(model)
    return model, [image(1), image(2)]


@pytest.mark.parametrize(
    ("name", "net"), [(name, net) for name in CASES for net in (THREE if name in ON_THREE else NETS)]
)
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
