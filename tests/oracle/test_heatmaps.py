"""Heatmaps against their definitions in float64, against sums that must hold, and against another implementation."""

import json
from pathlib import Path

import pytest
import torch
from networks import batch, image, tiny
from safetensors.torch import load_file
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.target import class_target
from innersight.image import stack
from innersight.input_spec import InputSpec
from innersight.layers import default_layers, last_grid
from innersight.model import Model

NETS = ["in-place", "dense", "twice", "functional", "writes-back", "grey", "wide"]


def ask(model: Model, name: str, x: Tensor, targets: list[int], layer: str, **options: object) -> Tensor:
    target = class_target(model, torch.tensor(targets))
    found = explain_batch(model, x, lambda _: target, [layer], {name: options}).found
    return next(iter(found.values())).values


def slow_gradcam(model: Model, one: Tensor, target: int, layer: str) -> Tensor:
    """Weight each map by the mean over places of the logit's derivative, by central differences of full runs."""

    def logit(added: Tensor | None) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def hook(_m: nn.Module, _i: object, output: Tensor) -> Tensor | None:
            if seen:
                return None
            seen.append(output.clone())
            return None if added is None else output + added

        handle = model.module(layer).register_forward_hook(hook)
        with torch.no_grad():
            value = model.net(one)[0, target]
        handle.remove()
        return value, seen[0]

    _, maps = logit(None)
    units, height, width = maps.shape[1:]
    out = torch.zeros(height, width, dtype=torch.float64)
    for unit in range(units):
        # Raising every place by h changes the logit by h times the sum of the derivatives.
        step = torch.zeros_like(maps)
        step[0, unit] = 1e-6
        slope = (logit(step)[0] - logit(-step)[0]) / 2e-6
        out += slope / (height * width) * maps[0, unit]
    return out


@pytest.mark.parametrize("net", NETS)
def test_gradcam_is_its_definition(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    # Images for which no activation lies so close to zero that the differences step over the kink of a ReLU.
    x = batch(model, 2, seed=2)
    for layer in default_layers(model):
        fast = ask(model, "gradcam", x, [1, 2], layer)
        for i, target in enumerate((1, 2)):
            slow = slow_gradcam(model, x[i : i + 1], target, layer)
            assert torch.allclose(fast[i], slow, atol=1e-6 * float(slow.abs().max()) + 1e-9), layer
            assert float(slow.abs().max()) > 1e-6


def test_gradcam_without_evidence_against() -> None:
    model = tiny("in-place", dtype=torch.float64)
    x = batch(model)
    signed = ask(model, "gradcam", x, [0, 3], "conv2")
    assert signed.min() < 0
    assert torch.equal(ask(model, "gradcam", x, [0, 3], "conv2", relu=True), signed.clamp(min=0))


@pytest.mark.parametrize("net", ["in-place", "grey", "wide"])
def test_with_pooling_and_a_linear_head_the_places_add_up_to_the_logit(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 4)
    layer = last_grid(model)[0]
    assert layer == "relu2"
    for target in range(4):
        values = ask(model, "gradcam", x, [target] * 4, layer)
        with torch.no_grad():
            logits = model.net(x)[:, target] - model.net.head.bias[target]
        assert torch.allclose(values.sum((1, 2)), logits)


@pytest.mark.parametrize("net", NETS)
def test_saliency_is_the_gradient_of_a_plain_run(net: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 3)
    fast = ask(model, "saliency", x, [0, 1, 3], last_grid(model)[0])
    for i, target in enumerate((0, 1, 3)):
        pixels = x[i : i + 1].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model.net(pixels)[0, target], pixels)
        assert torch.allclose(fast[i], gradient[0].abs().max(0).values)


def test_saliency_is_how_fast_the_logit_changes() -> None:
    model = tiny("functional", dtype=torch.float64)
    x = batch(model, 1)
    values = ask(model, "saliency", x, [2], "conv2")[0]
    place = divmod(int(values.argmax()), values.shape[1])
    slopes = []
    for channel in range(3):
        step = torch.zeros_like(x)
        step[0, channel, place[0], place[1]] = 1e-6
        with torch.no_grad():
            slopes.append(abs(float(model.net(x + step)[0, 2] - model.net(x - step)[0, 2]) / 2e-6))
    assert max(slopes) == pytest.approx(float(values.max()), rel=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_gradcam_agrees_with_another_implementation() -> None:
    peer = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed", exc_type=ImportError)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = tiny("in-place")

    def spread(values: Tensor) -> Tensor:
        return (values - values.min()) / (values.max() - values.min())

    compared = 0
    for target, seed in ((target, seed) for target in range(4) for seed in range(3)):
        one = image(seed)
        found = explain(model, one, target, ["gradcam"], layers="pool1", options={"gradcam": {"relu": True}})
        ours = found.entries[0].values
        with peer.GradCAM(model.net, [model.net.pool1]) as cam:
            theirs = torch.from_numpy(cam(stack([one], model.input), [ClassifierOutputTarget(target)])[0])
        large = nn.functional.interpolate(ours[None, None], size=theirs.shape, mode="bilinear")[0, 0]
        if ours.max() > 0:
            compared += 1
            assert float((spread(large) - spread(theirs)).abs().mean()) < 0.01
    assert compared >= 4


def test_explain_names_targets_and_keeps_the_order() -> None:
    model = tiny("in-place")
    images = [image(i) for i in range(18)]
    found = explain(model, images, methods=["saliency", "gradcam", "saliency"])
    assert [(e.image.name, e.method) for e in found.entries] == [
        (one.name, method) for one in images for method in ("saliency", "gradcam")
    ]
    with torch.no_grad():
        logits = model.net(stack(images, model.input))
    for i, entry in enumerate(found.entries[::2]):
        assert entry.target == int(logits[i].argmax())
        assert entry.logit == pytest.approx(float(logits[i].max()), abs=1e-5)
        assert entry.probability == pytest.approx(float(logits[i].softmax(0).max()), abs=1e-5)
    fixed = explain(model, images[17], "dogwood").entries
    assert {entry.target for entry in fixed} == {3}
    own = explain(model, images, "dogwood").entries[-2:]
    for a, b in zip(fixed, own, strict=True):
        assert torch.allclose(a.values, b.values, atol=1e-6)


def test_the_layer_read_is_said() -> None:
    model = tiny("dense")
    found = explain(model, image(1))
    assert found.layer == last_grid(model)[0]
    assert "last layer with a grid (12x12)" in found.why
    assert explain(model, image(1), layers="stem").why == "as asked"


class Constant(nn.Module):
    """Ignores its image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.value * self.conv(x).mean((2, 3)))


def test_no_evidence_is_an_answer() -> None:
    model = Model(Constant(0.0).eval(), InputSpec(8, 8), ("a", "b"), "constant", "a test")
    entries = explain(model, image(1), layers="conv").entries
    assert [entry.verdict for entry in entries] == [
        f"{name} shows nothing: its values are zero everywhere." for name in ("gradcam", "saliency")
    ]
    assert not any(entry.values.any() for entry in entries)
    assert all(entry.verdict is None for entry in explain(tiny("in-place"), image(1)).entries)


def test_a_gradient_that_overflows_is_told(tmp_path: Path) -> None:
    model = Model(Constant(float("inf")).eval(), InputSpec(8, 8), ("a", "b"), "overflow", "a test")
    found = explain(model, image(1), "a", layers="conv")
    assert all("not numbers" in (entry.verdict or "") for entry in found.entries)
    assert found.save(tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"target": "mapel"}, "has no class 'mapel'"),
        ({"target": 9}, "class 9 is out of range"),
        ({"methods": ["gradcan"]}, r"did you mean gradcam or"),
        ({"methods": []}, "no heatmap method named"),
        ({"layers": "conv7"}, "did you mean conv"),
        ({"options": {"gradcam": {"rleu": True}}}, r"no option 'rleu'; did you mean relu\?"),
        ({"options": {"gradcam": {"relu": "maybe"}}}, "relu='maybe' is not of type bool"),
    ],
)
def test_errors(options: dict, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        explain(tiny("in-place"), image(0), **options)


def test_saving(tmp_path: Path) -> None:
    model = tiny("wide")
    found = explain(model, [image(1), image(2)])
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert [row["grid"] for row in document["heatmaps"]] == [[10, 17], [20, 34]] * 2
    assert document["heatmaps"][0]["low"] < document["heatmaps"][0]["high"]
    tensors = load_file(found.save(tmp_path / "a.safetensors"))
    assert sorted(tensors) == ["gradcam/0", "gradcam/1", "saliency/0", "saliency/1"]
    assert torch.equal(tensors["gradcam/1"], found.entries[2].values)
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert not found.entries[1].scale.signed
