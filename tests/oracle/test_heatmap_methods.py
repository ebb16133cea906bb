"""Every heatmap method against its definition, written slowly in float64, or against another implementation of it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from networks import InPlace, batch, tiny
from torch import Tensor, nn
from torch.nn import functional as F

from innersight import tap
from innersight.errors import InnersightError
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.request import MethodOutput, UnfitError
from innersight.heatmaps.target import class_target
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load

CLASSES = [1, 2, 3]


def ask(model: Model, name: str, x: Tensor, targets: list[int], layer: str = "conv2", **options: Any) -> MethodOutput:
    target = class_target(model, torch.tensor(targets))
    found = explain_batch(model, x, lambda _: target, [layer], {name: options}).found
    return next(iter(found.values()))


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("in-place", dtype=torch.float64)


@pytest.fixture(scope="module")
def images(model: Model) -> Tensor:
    return batch(model, 3, seed=2)


def logit(model: Model, x: Tensor, target: int) -> Tensor:
    with torch.no_grad():
        return model.net(x)[:, target]


def at_layer(model: Model, one: Tensor, target: int, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients (units, h, w) by a plain hook."""
    kept: list[Tensor] = []

    def hook(_m: nn.Module, _i: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = model.module(layer).register_forward_hook(hook)
    value = model.net(one)[0, target]
    handle.remove()
    (gradient,) = torch.autograd.grad(value, kept[0])
    return kept[0][0].detach().numpy(), gradient[0].numpy()


def plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    out = np.zeros(a.shape[1:])
    for unit in range(len(a)):
        there = g[unit][g[unit] != 0]
        alpha = there**2 / (2 * there**2 + a[unit].sum() * there**3)
        out += (alpha * np.maximum(there, 0)).sum() * a[unit]
    return out


def xgrad(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return sum(((g[u] * a[u]).sum() / a[u].sum()) * a[u] for u in range(len(a)) if a[u].any())


def hires(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return sum(g[u] * a[u] for u in range(len(a)))


def layer_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return sum(np.maximum(g[u], 0) * a[u] for u in range(len(a)))


@pytest.mark.parametrize(
    ("name", "slow"),
    [("gradcam-plus-plus", plus_plus), ("xgradcam", xgrad), ("hirescam", hires), ("layercam", layer_cam)],
)
@pytest.mark.parametrize("layer", ["pool1", "conv2", "relu2"])
def test_maps_from_gradients(model: Model, images: Tensor, name: str, slow: Any, layer: str) -> None:
    found = ask(model, name, images, CLASSES, layer).values
    for i, target in enumerate(CLASSES):
        truth = torch.from_numpy(slow(*at_layer(model, images[i : i + 1], target, layer)))
        assert torch.allclose(found[i], truth, atol=1e-9), layer


def test_eigencam_is_the_first_principal_component(model: Model, images: Tensor) -> None:
    found = ask(model, "eigencam", images, CLASSES, "relu2").values
    for i in range(3):
        a, _ = at_layer(model, images[i : i + 1], 0, "relu2")
        places = a.reshape(len(a), -1).T
        centred = places - places.mean(0)
        values, vectors = np.linalg.eigh(centred.T @ centred)
        truth = (centred @ vectors[:, values.argmax()]).reshape(a.shape[1:])
        strength = np.linalg.norm(places, axis=1).reshape(a.shape[1:])
        if np.corrcoef(truth.ravel(), strength.ravel())[0, 1] < 0:
            truth = -truth
        assert np.allclose(found[i], truth, atol=1e-5)


def test_finercam_is_gradcam_of_the_weighted_difference(model: Model, images: Tensor) -> None:
    found = ask(model, "finercam", images, CLASSES, "conv2", rivals=2, strength=0.5).values
    for i, target in enumerate(CLASSES):
        one = images[i : i + 1]
        outputs = model.net(one)[0].detach()
        away = (outputs - outputs[target]).abs().tolist()
        others = [c for c in sorted(range(4), key=away.__getitem__) if c != target][:2]
        a, _ = at_layer(model, one, target, "conv2")
        weights = difference_gradient(model, one, target, others, 0.5).mean((1, 2))
        assert torch.allclose(found[i], torch.from_numpy(np.tensordot(weights, a, 1)), atol=1e-8)


def test_finercam_subtracts_three_classes_unless_told_otherwise() -> None:
    # As the authors do. Of six classes, so that two are left out.
    torch.manual_seed(3)
    model = Model(InPlace(classes=6).double().eval(), InputSpec(24, 24), tuple("abcdef"), "six", "a test")
    x = batch(model, 2, seed=2)
    plain, three, four = (
        ask(model, "finercam", x, [1, 4], **options).values for options in ({}, {"rivals": 3}, {"rivals": 4})
    )
    assert torch.equal(plain, three)
    assert not torch.allclose(plain, four, rtol=1e-3)


def difference_gradient(model: Model, one: Tensor, target: int, others: list[int], strength: float) -> np.ndarray:
    kept: list[Tensor] = []

    def hook(_m: nn.Module, _i: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = model.module("conv2").register_forward_hook(hook)
    outputs = model.net(one)[0]
    handle.remove()
    shares = outputs.softmax(0)
    top = sum(shares[c] * (outputs[target] - strength * outputs[c]) for c in others)
    (gradient,) = torch.autograd.grad(top / sum(shares[c] for c in others), kept[0])
    return gradient[0].numpy()


@pytest.mark.parametrize("net", ["in-place", "dense", "twice", "functional", "writes-back"])
def test_ablationcam_is_what_full_runs_lose(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 2, seed=2)
    layer = {"dense": "step2", "in-place": "pool1"}.get(net, tap_layer(model))
    found = ask(model, "ablationcam", x, [1, 2], layer).values
    for i, target in enumerate((1, 2)):
        one = x[i : i + 1]
        with tap.untouched(model), torch.no_grad():
            maps = tap.capture(model, one, [layer]).activations[layer][0]
            whole = model.net(one)[0, target]
            truth = torch.zeros_like(maps[0])
            for unit in range(len(maps)):

                def silent(output: Tensor, unit: int = unit) -> Tensor:
                    changed = output.clone()
                    changed[:, unit] = 0
                    return changed

                truth += (whole - tap.replace(model, one, layer, silent)[0, target]) * maps[unit]
        assert torch.allclose(found[i], truth, atol=1e-9), net


def tap_layer(model: Model) -> str:
    from innersight.layers import default_layers

    return default_layers(model)[0]


def test_ablationcam_closed_form_is_used_and_equal(
    model: Model, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innersight.heatmaps.methods import ablationcam

    # relu2 is followed by pooling and one matrix, pool1 is not.
    fast = ask(model, "ablationcam", images, CLASSES, "relu2").values
    asked: list[bool] = []
    real = ablationcam._affine

    def spy(request: Any) -> Tensor | None:
        slope = real(request)
        asked.append(slope is not None)
        return None

    monkeypatch.setattr(ablationcam, "_affine", spy)
    assert torch.allclose(fast, ask(model, "ablationcam", images, CLASSES, "relu2").values, atol=1e-9)
    ask(model, "ablationcam", images, CLASSES, "pool1")
    assert asked == [True, False]


def test_reciprocam_leaves_one_place(model: Model, images: Tensor) -> None:
    found = ask(model, "reciprocam", images, CLASSES, "pool1", smooth=False).values
    with tap.untouched(model), torch.no_grad():
        for y, x in ((0, 0), (5, 3), (11, 11)):

            def only(output: Tensor, y: int = y, x: int = x) -> Tensor:
                changed = torch.zeros_like(output)
                changed[:, :, y, x] = output[:, :, y, x]
                return changed

            truth = tap.replace(model, images, "pool1", only)
            assert torch.allclose(found[:, y, x], truth[range(3), CLASSES])


def test_scorecam_by_a_loop(model: Model, images: Tensor) -> None:
    found = ask(model, "scorecam", images, CLASSES, "relu2").values
    for i, target in enumerate(CLASSES):
        one = images[i : i + 1]
        a, _ = at_layer(model, one, target, "relu2")
        scores = []
        for unit in a:
            wide = F.interpolate(torch.from_numpy(unit)[None, None], one.shape[2:], mode="bilinear", align_corners=True)
            seen = (wide - wide.min()) / (wide.max() - wide.min())
            scores.append(float(logit(model, one * seen, target)) if unit.max() > unit.min() else -math.inf)
        weights = np.exp(scores) / np.exp(scores).sum()
        assert np.allclose(found[i], np.tensordot(weights, a, 1), atol=1e-9)


def test_occlusion_by_a_loop(model: Model, images: Tensor) -> None:
    found = ask(model, "occlusion", images, CLASSES, patch=0.25, stride=0.125).values
    starts = range(0, 19, 3)
    for i, target in enumerate(CLASSES):
        one = images[i : i + 1]
        lost, covered = torch.zeros(24, 24), torch.zeros(24, 24)
        for y in starts:
            for x in starts:
                changed = one.clone()
                changed[:, :, y : y + 6, x : x + 6] = 0
                lost[y : y + 6, x : x + 6] += float(logit(model, one, target) - logit(model, changed, target))
                covered[y : y + 6, x : x + 6] += 1
        assert torch.allclose(found[i], lost / covered, atol=1e-6)


class Weighted(nn.Module):
    """Class 0 is the sum of weights times pixels: what each pixel is worth is known."""

    def __init__(self) -> None:
        super().__init__()
        self.pass_on = nn.Identity()
        weight = torch.zeros(2, 3, 14, 14)
        weight[0, :, 2:6, 2:6] = 1.0
        weight[0, :, 8:12, 8:12] = -0.5
        self.head = nn.Linear(3 * 14 * 14, 2, bias=False)
        self.head.weight.data = weight.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pass_on(x).flatten(1))


@pytest.fixture(scope="module")
def weighted() -> Model:
    return load(Weighted().eval(), input=InputSpec(14, 14, fit="squash"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saliency", {}),
        ("input-x-gradient", {}),
        ("integrated-gradients", {"steps": 3}),
        ("smoothgrad", {"max_samples": 4}),
        ("occlusion", {"patch": 0.07, "stride": 0.07}),
        ("rise", {"max_samples": 4096, "max_error": 0.02}),
        ("deeplift", {}),
        ("gradient-shap", {}),
        ("kernel-shap", {"cells": 7, "samples": 400}),
    ],
)
def test_what_each_pixel_is_worth_is_found(weighted: Model, name: str, options: dict[str, Any]) -> None:
    x = torch.ones(1, 3, 14, 14)
    if name in ("deeplift", "gradient-shap", "kernel-shap"):
        pytest.importorskip("captum")
    values = ask(weighted, name, x, [0], "pass_on", **options).values[0]
    good, bad, nothing = values[3:5, 3:5].mean(), values[9:11, 9:11].mean(), values[0, 7:]
    assert float(good) > 0
    if name in ("saliency", "smoothgrad"):
        assert float(bad) == pytest.approx(float(good) / 2, rel=1e-5)
    else:
        assert float(bad) == pytest.approx(-float(good) / 2, rel=0.15)
    assert float(nothing.abs().max()) < 0.2 * float(good)


def test_integrated_gradients_add_up(model: Model, images: Tensor) -> None:
    coarse, fine = (ask(model, "integrated-gradients", images, CLASSES, steps=steps) for steps in (2, 256))
    change = logit(model, images, 0) * 0
    for i, target in enumerate(CLASSES):
        change[i] = logit(model, images[i : i + 1], target) - logit(model, images[i : i + 1] * 0, target)
    for found in (coarse, fine):
        assert torch.allclose(found.facts["completeness gap"], found.values.sum((1, 2)) - change)
    assert fine.facts["completeness gap"].abs().max() < 2e-3 * change.abs().max()
    assert fine.facts["completeness gap"].abs().max() < coarse.facts["completeness gap"].abs().max()


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish])
def test_deeplift_adds_up_for_every_elementwise_activation(kind: type[nn.Module]) -> None:
    deep_lift = pytest.importorskip("captum.attr._core.deep_lift")
    before = dict(deep_lift.SUPPORTED_NON_LINEAR)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), kind(), nn.Conv2d(4, 4, 3), kind(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
    model = load(net.double().eval(), input=InputSpec(10, 10, fit="squash"))
    x = 3 * torch.randn(2, 3, 10, 10, dtype=torch.float64)
    found = ask(model, "deeplift", x, [0, 1], "0")
    change = (model.logits(x) - model.logits(torch.zeros_like(x)))[range(2), [0, 1]]
    assert found.values.sum((1, 2)).tolist() == pytest.approx(change.tolist(), rel=1e-6)
    assert found.facts["completeness gap"].abs().max() < 1e-6
    assert before == deep_lift.SUPPORTED_NON_LINEAR


def test_deeplift_tells_what_it_cannot_follow(model: Model, images: Tensor) -> None:
    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Hidden(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    hidden = load(net.eval(), input=InputSpec(10, 10, fit="squash"))
    assert ask(hidden, "deeplift", torch.randn(1, 3, 10, 10), [0], "0").facts["completeness gap"].abs().max() > 1e-3


def test_vargrad_and_smoothgrad_are_moments_of_the_same_gradients(model: Model, images: Tensor) -> None:
    mean = ask(model, "smoothgrad", images, CLASSES, max_samples=8, max_error=1e-9)
    variance = ask(model, "vargrad", images, CLASSES, samples=8).values
    stream = torch.Generator().manual_seed(0)
    slopes = []
    for _ in range(8):
        noise = torch.randn(images.shape[1:], generator=stream).double()
        spread = 0.15 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
        noisy = (images + spread[:, None, None, None] * noise).requires_grad_(True)
        value = model.net(noisy)[range(3), CLASSES].sum()
        slopes.append(torch.autograd.grad(value, noisy)[0])
    drawn = torch.stack(slopes)
    assert torch.allclose(mean.values, drawn.mean(0).abs().amax(1), atol=1e-9)
    assert torch.allclose(variance, drawn.var(0).sum(1), atol=1e-9)
    strongest = drawn.mean(0).abs().argmax(1, keepdim=True)
    assert mean.error is not None
    assert torch.allclose(mean.error, (drawn.std(0) / 8**0.5).gather(1, strongest)[:, 0], atol=1e-9)


def test_guided_backprop_stops_what_lowers_a_relu(model: Model, images: Tensor) -> None:
    found = ask(model, "guided-backprop", images, CLASSES).values
    net = model.net
    x = images.clone().requires_grad_(True)

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, given: Tensor) -> Tensor:
            ctx.save_for_backward(given)
            return given.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return torch.where(ctx.saved_tensors[0] > 0, gradient.clamp(min=0), 0)

    hidden = F.max_pool2d(Rule.apply(net.bn1(net.conv1(x))), 2)
    outputs = net.head(Rule.apply(net.conv2(hidden)).mean((2, 3)))
    (gradient,) = torch.autograd.grad(outputs[range(3), CLASSES].sum(), x)
    truth = gradient.gather(1, gradient.abs().argmax(1, keepdim=True))[:, 0]
    assert torch.allclose(found, truth, atol=1e-9)


def test_guided_backprop_needs_relus() -> None:
    smooth = load(nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(UnfitError, match=r"changes ReLUs, and .* has none"):
        ask(smooth, "guided-backprop", torch.randn(1, *smooth.input.shape), [0], "0")


def test_the_error_of_rise_is_what_repetition_gives(weighted: Model) -> None:
    x = torch.ones(1, 3, 14, 14)
    target = class_target(weighted, torch.tensor([0]))
    drawn = [
        explain_batch(
            weighted, x, lambda _: target, ["pass_on"], {"rise": {"max_samples": 256, "max_error": 0.0}}, seed
        ).found
        for seed in range(60)
    ]
    values = torch.stack([one["rise", None].values[0] for one in drawn])
    errors = [one["rise", None].error for one in drawn]
    claimed = torch.stack([error[0] for error in errors if error is not None]).mean(0)
    ratio = (values.std(0) / claimed).median()
    assert 0.8 < float(ratio) < 1.25


def test_perturbation_ends_when_it_knows_enough(weighted: Model) -> None:
    x = torch.ones(1, 3, 14, 14)
    rough, fine = (ask(weighted, "rise", x, [0], "pass_on", max_error=error, max_samples=4096) for error in (0.6, 0.2))
    assert rough.facts["masks"] < fine.facts["masks"] < 4096
    assert fine.error is not None
    assert float(fine.error.square().mean().sqrt()) < 0.2 * float(fine.values.std())


def test_sobol_finds_shares_of_variance(weighted: Model) -> None:
    x = torch.ones(1, 3, 14, 14)
    found = ask(weighted, "sobol", x, [0], "pass_on", cells=7, max_samples=256, max_error=0.0)
    # Cells of 2 x 2 pixels: the target is additive, so each total index is its share of the variance.
    worth = torch.zeros(7, 7)
    worth[1:3, 1:3], worth[4:6, 4:6] = 1.0, -0.5
    truth = (worth.square() / worth.square().sum()).double()
    assert torch.allclose(found.values[0], truth, atol=0.05)
    assert float(found.values[0][worth == 0].max()) == pytest.approx(0, abs=1e-6)
    assert found.error is not None
    near = (found.values[0] - truth).abs() <= 4 * found.error[0] + 0.01
    assert near.float().mean() > 0.9


def test_extremal_perturbation_keeps_what_counts(weighted: Model) -> None:
    x = torch.zeros(1, 3, 14, 14)
    x[..., 2:6, 2:6] = x[..., 8:12, 8:12] = 1
    values = ask(weighted, "extremal-perturbation", x, [0], "pass_on", cells=14).values[0]
    assert float(values[3:5, 3:5].mean()) > 0.8
    assert float(values[9:11, 9:11].mean()) < 0.25
    assert 0 <= float(values.min()) <= float(values.max()) <= 1


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("rise", {"share": 1.0}, "share=1.0"),
        ("rise", {"cells": 1}, "cells=1"),
        ("occlusion", {"patch": 0.1, "stride": 0.2}, "stride=0.2"),
        ("sobol", {"cells": 1}, "cells=1"),
        ("smoothgrad", {"noise": 0.0}, "noise=0.0"),
        ("smoothgrad", {"max_samples": 1}, "max_samples=1"),
        ("vargrad", {"samples": 1}, "samples=1"),
        ("integrated-gradients", {"steps": 0}, "steps=0"),
        ("extremal-perturbation", {"steps": 0}, "steps=0"),
        ("finercam", {"rivals": 0}, "rivals=0"),
    ],
)
def test_options_out_of_range_are_named(
    model: Model, images: Tensor, name: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(InnersightError, match=why):
        ask(model, name, images, CLASSES, **options)
