"""All heatmap methods against their papers, on networks whose logits, gradients and activations have any size."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from heatmap_papers import ORACLES
from test_attention import Transformer
from torch import Tensor, nn

from innersight.heatmaps import UnfitError, explain
from innersight.heatmaps.engine import explain_batch
from innersight.heatmaps.request import methods
from innersight.heatmaps.target import class_target
from innersight.image import as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load

SIDE, TARGETS = 16, [1, 3]
LOGITS = [("logits", scale) for scale in (1e-30, 1e-8, 1e8, 1e30)]
SCALES = {
    "plain": [("as it is", 1.0), *LOGITS, ("activations", 1e-8), ("activations", 1e8)],
    "signed": [("as it is", 1.0), ("all", 1e-8), ("all", 1e8)],
    "residual": [("as it is", 1.0), ("activations", 1e-8), ("all", 1e8)],
    # Nothing in a transformer but its head can be scaled without changing what it computes.
    "tokens": [("as it is", 1.0), *LOGITS[1:3]],
}
"""What of a network is how many times as large."""


class Residual(nn.Module):
    """Frozen batch norms, and a sum between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu1 = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU()
        self.conv1, self.norm1, self.relu2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.conv2, self.norm2, self.last = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.stem(x))
        y = self.norm2(self.conv2(self.relu2(self.norm1(self.conv1(x)))))
        return self.head(self.last(x + y).mean((2, 3)))


LAYERS = {"plain": "3", "signed": "2", "residual": "last", "tokens": "blocks.1"}


@cache
def network(kind: str, what: str, scale: float) -> tuple[Model, nn.Module]:
    """Return a network some of whose numbers are `scale` times as large, and the same in float64."""
    torch.manual_seed(4)
    net: nn.Module
    if kind == "residual":
        net = Residual()
        for norm in (net.norm1, net.norm2):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
        before, after, head = (net.stem, net.norm2), net.conv1, net.head
    elif kind == "tokens":
        net = Transformer("fused")
        before, after, head = (), None, net.head
    else:
        end = [nn.ReLU()] if kind == "plain" else []
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
        net = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 6, 3, padding=1), *end, *pool)
        before, after, head = (net[2],), None, net[-1]
    with torch.no_grad():
        if what == "logits":
            head.weight *= scale
            head.bias *= scale
        elif what != "as it is":
            for module in before:
                module.weight *= scale
                module.bias *= scale
            if after is not None:
                after.weight /= scale
            if what == "activations":
                head.weight /= scale
            else:
                head.bias *= scale
    return load(net.eval(), input=InputSpec(SIDE, SIDE, fit="squash")), copy.deepcopy(net).double()


def images() -> Tensor:
    return torch.randn(len(TARGETS), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def cases() -> list[tuple[str, str, str, float]]:
    return [
        (name, kind, *one)
        for name in list(methods)
        for kind in (ORACLES[name].nets if name in ORACLES else SCALES)
        for one in SCALES[kind]
    ]


@pytest.mark.parametrize(("name", "kind", "what", "scale"), cases())
def test_a_method_is_its_paper_at_every_scale(name: str, kind: str, what: str, scale: float) -> None:
    assert name in ORACLES, f"write the definition of {name} in tests/oracle/heatmap_papers.py"
    if methods.entry(name).reads == "captum":
        pytest.importorskip("captum")
    oracle, (model, exact) = ORACLES[name], network(kind, what, scale)
    target = class_target(model, torch.tensor(TARGETS))
    x = images()
    (found,) = explain_batch(model, x, lambda _: target, [LAYERS[kind]], {name: oracle.options}).found.values()
    for i, number in enumerate(TARGETS):
        want = np.asarray(oracle.slow(exact, x[i : i + 1].double(), number, LAYERS[kind], **slow_options(name)))
        size = np.abs(want).max()
        assert size > 0
        assert found.values[i].isfinite().all()
        assert np.abs(found.values[i].numpy() / size - want / size).max() < oracle.within


def slow_options(name: str) -> dict[str, object]:
    return {key: value for key, value in ORACLES[name].options.items() if key not in ("max_error", "samples")}


def test_every_definition_is_that_of_a_method() -> None:
    assert set(ORACLES) == set(methods)


def test_relevance_is_refused_where_modules_are_not_all_there_is() -> None:
    pytest.importorskip("captum")
    model, _ = network("residual", "as it is", 1.0)
    target = class_target(model, torch.tensor([1]))
    with pytest.raises(UnfitError, match="between its modules"):
        explain_batch(model, images()[:1], lambda _: target, ["last"], {"lrp": {}})


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e30])
def test_a_map_of_any_size_is_shown(scale: float) -> None:
    model, _ = network("plain", "logits", scale)
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    asked = ["gradcam", "gradcam-plus-plus", "saliency", "vargrad", "rise", "sobol"]
    found = explain(
        model, as_image(pixels), 1, asked, options={"rise": {"max_samples": 64}, "sobol": {"max_samples": 2}}
    )
    for entry in found.entries:
        assert "shows nothing" not in (entry.verdict or ""), entry.method
        assert entry.values.isfinite().all(), entry.method
        assert 0 < entry.scale.high < float("inf"), entry.method
    found.figure()


def model_of(net: nn.Module) -> Model:
    return load(net.eval(), input=InputSpec(8, 8, fit="squash"))


def test_a_map_that_cancels_has_no_shares_of_its_sum() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )
    model = model_of(net)
    target = class_target(model, torch.tensor([1]))
    for size in (1e-3, 1.0, 1e3):
        x = size * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        (found,) = explain_batch(model, x, lambda _: target, ["1"], {"xgradcam": {}}).found.values()
        # Their sums are zero on paper; divided by their rounding the weights would be about 1e7.
        assert not found.values.any()


def test_what_is_the_same_everywhere_has_no_component() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=5), nn.AdaptiveAvgPool2d(1)
    )
    model = model_of(nn.Sequential(*net, nn.Flatten(), nn.Linear(4, 2)).double())
    target = class_target(model, torch.tensor([1]))
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = explain_batch(model, x, lambda _: target, ["2"], {"eigencam": {}}).found.values()
    assert not found.values.any()
