"""Metrics of the same definition against Quantus and pytorch-grad-cam: the same numbers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from innersight.heatmaps.masked import run_masked
from innersight.trust.faithfulness import area, curves, ranking
from innersight.trust.imputers.inpaint import imputed
from innersight.trust.metrics.boxes import highest_inside, positive_inside
from innersight.trust.metrics.complexity import entropy
from innersight.trust.metrics.sensitivity import change

pytestmark = pytest.mark.filterwarnings("ignore")
SIDE = 20


class Net(nn.Module):
    """One band, so that a pixel is a feature, as Quantus counts them."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.seen = nn.Conv2d(bands, 6, 3, padding=1)
        self.told = nn.Linear(6 * SIDE * SIDE, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.told(self.seen(x).relu().flatten(1))
        return logits


@pytest.fixture(scope="module")
def quantus() -> Any:
    return pytest.importorskip("quantus")


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net(1).eval()


def images(bands: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return network inputs, maps without equal values, and regions."""
    stream = torch.Generator().manual_seed(3)
    x = torch.rand((4, bands, SIDE, SIDE), generator=stream) + 0.5
    maps = torch.rand((4, SIDE, SIDE), generator=stream)
    regions = torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    for i in range(4):
        regions[i, i : i + 6, 2 : 9 + i] = True
    return x, maps, regions


def asked(metric: Any, net: Net, x: Tensor, maps: Tensor, regions: Tensor | None = None, **extra: Any) -> list[float]:
    classes = net(x).argmax(1).numpy()
    found: list[float] = metric(
        model=net, x_batch=x.numpy(), y_batch=classes, a_batch=maps[:, None].numpy(),
        s_batch=None if regions is None else regions[:, None].numpy(), channel_first=True, softmax=True, device="cpu",
        explain_func=None, explain_func_kwargs=None, model_predict_kwargs=None, **extra,
    )  # fmt: skip
    return found


def told(net: nn.Module, x: Tensor, ranks: Tensor, steps: int, filled: Any) -> Any:
    """Return our curves of the probability of the predicted class."""
    target = int(net(x[None]).argmax())

    def run(inputs: Tensor, owners: Tensor) -> Tensor:
        del owners
        return net(inputs).softmax(1)[:, target].detach()

    (found,) = run_masked([curves(ranks[None], steps)], lambda _, kept: filled(x, kept), run)
    return found


def test_complexity(quantus: Any, net: Net) -> None:
    x, maps, _ = images()
    theirs = asked(quantus.Complexity(normalise=False, abs=True, disable_warnings=True), net, x, maps)
    assert (entropy(maps) * math.log(SIDE * SIDE)).tolist() == pytest.approx(theirs, rel=1e-5)


def test_mass_in_the_box(quantus: Any, net: Net) -> None:
    x, maps, regions = images()
    metric = quantus.RelevanceMassAccuracy(normalise=False, abs=False, disable_warnings=True)
    theirs = asked(metric, net, x, maps, regions)
    ours = [float(positive_inside(one[None], region)) for one, region in zip(maps, regions, strict=True)]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_pointing_game(quantus: Any, net: Net) -> None:
    x, maps, regions = images()
    for i in (0, 2):
        maps[i, i + 1, 4] = 3
    metric = quantus.PointingGame(normalise=False, abs=False, disable_warnings=True)
    theirs = asked(metric, net, x, maps, regions)
    ours = [bool(highest_inside(one[None], region)) for one, region in zip(maps, regions, strict=True)]
    assert ours == [bool(one) for one in theirs]
    assert set(ours) == {True, False}


def test_sensitivity(quantus: Any, net: Net) -> None:
    x, _, _ = images()
    noise = 0.02 * torch.rand(x[0].shape, generator=torch.Generator().manual_seed(1)).numpy()

    def gradient(inputs: Tensor) -> Tensor:
        leaf = inputs.clone().requires_grad_(True)
        classes = net(x).argmax(1)
        net(leaf)[torch.arange(len(leaf)), classes].sum().backward()
        assert leaf.grad is not None
        return leaf.grad[:, 0] * inputs[:, 0]

    metric = quantus.MaxSensitivity(
        nr_samples=1, normalise=False, abs=False, disable_warnings=True,
        perturb_func=lambda arr, indices, **_: arr + noise.reshape(1, -1),
    )  # fmt: skip
    before = gradient(x)
    theirs = metric(
        model=net, x_batch=x.numpy(), y_batch=net(x).argmax(1).numpy(), a_batch=before[:, None].numpy(), s_batch=None,
        channel_first=True, softmax=False, device="cpu", explain_func_kwargs=None, model_predict_kwargs=None,
        explain_func=lambda model, inputs, targets, **_: gradient(torch.as_tensor(inputs))[:, None].numpy(),
    )  # fmt: skip
    after = gradient(x + torch.from_numpy(noise))
    assert [change(a, b) for a, b in zip(before, after, strict=True)] == pytest.approx(list(theirs), rel=1e-4)


def test_deletion(quantus: Any, net: Net) -> None:
    x, maps, _ = images()
    metric = quantus.PixelFlipping(
        features_in_step=SIDE * SIDE // 8, normalise=False, abs=False, perturb_baseline=0.0, disable_warnings=True
    )
    theirs = asked(metric, net, x, maps)
    for i in range(4):
        ranks, _ = ranking(maps[i], (SIDE, SIDE), np.random.default_rng(0))
        found = told(net, x[i], ranks, 8, lambda own, kept: torch.where(kept[:, None], own, 0))
        assert found.deletion[0, 1:].tolist() == pytest.approx(theirs[i], rel=1e-4)
        trapezoid = sum((a + b) / 2 for a, b in zip(found.deletion[0, :-1], found.deletion[0, 1:], strict=True)) / 8
        assert float(area(found.deletion)) == pytest.approx(float(trapezoid), rel=1e-5)


def test_remove_and_debias() -> None:
    from pytorch_grad_cam.metrics.perturbation_confidence import (
        PerturbationConfidenceMetric,
        RemoveLeastRelevantFirst,
        RemoveMostRelevantFirst,
    )
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    torch.manual_seed(1)
    net = nn.Sequential(Net(3), nn.Softmax(1)).eval()
    x, maps, _ = images(3)
    quiet = NoisyLinearImputer(noise=0)
    for i in range(4):
        target = int(net(x[i : i + 1]).argmax())

        def score(remove: Any, share: int, i: int = i, target: int = target) -> float:
            metric = PerturbationConfidenceMetric(remove(share, quiet))
            return float(metric(x[i : i + 1], maps[i : i + 1].numpy(), [lambda output: output[target]], net)[0])

        shares = (20, 40, 60, 80)
        theirs = np.mean([score(RemoveLeastRelevantFirst, p) - score(RemoveMostRelevantFirst, p) for p in shares]) / 2
        ranks, _ = ranking(maps[i], (SIDE, SIDE), np.random.default_rng(0))
        found = told(net[0], x[i], ranks, 5, imputed)
        ours = float((found.insertion - found.deletion)[0, 1:-1].mean()) / 2
        assert ours == pytest.approx(float(theirs), abs=2e-4)
