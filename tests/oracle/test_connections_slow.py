"""`connections` against slow ways: units switched off on affine networks, differences, and Jacobians of kernels."""

from itertools import pairwise

import pytest
import torch
from networks import NETS, batch, image, tiny
from torch import Tensor, nn

import innersight as ins
from innersight import tap
from innersight.connections import CLASSES
from innersight.connections.engine import into, out_of
from innersight.image import stack
from innersight.input_spec import InputSpec
from innersight.layers import default_layers
from innersight.model import Model


class Affine(nn.Module):
    """Nothing but convolutions, norms, average pools, a sum and one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1)
        self.deep = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.bn = nn.BatchNorm2d(5)
        self.wide = nn.Conv2d(5, 7, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.wide(x + self.bn(self.deep(x)))
        return self.head(self.pool(x).flatten(1))


def affine() -> Model:
    torch.manual_seed(0)
    net = Affine().double().eval()
    net.bn.running_mean.normal_()
    net.bn.running_var.uniform_(0.5, 2)
    nn.init.normal_(net.bn.weight)
    return Model(net, InputSpec(16, 16), ("ash", "birch", "cedar", "dogwood"), "affine", "a test")


def response(model: Model, x: Tensor, layer: str, of: str) -> Tensor:
    if layer == CLASSES:
        return model.logits(x)
    maps = tap.capture(model, x, [layer]).activations[layer].flatten(2)
    return maps.mean(2) if of == "mean" else maps.amax(2)


def slow_effect(model: Model, x: Tensor, source: str, target: str, *, step: float, of: str = "mean") -> Tensor:
    """(images, sources, targets): what is lost when a unit's map shrinks by `step` of itself, per step."""
    found = []
    with tap.untouched(model), torch.no_grad():
        units = tap.capture(model, x, [source]).activations[source].shape[1]
        for unit in range(units):
            ends = []
            for size in (1 + step, 1 - step):
                module, wanted = model.call(source)
                calls = []

                def shrink(
                    _m: nn.Module,
                    _i: object,
                    output: Tensor,
                    unit: int = unit,
                    size: float = size,
                    calls: list = calls,
                    wanted: int = wanted,
                ) -> Tensor:
                    calls.append(1)
                    if len(calls) != wanted:
                        return output
                    output = output.clone()
                    output[:, unit] *= size
                    return output

                hook = module.register_forward_hook(shrink)
                ends.append(response(model, x, target, of))
                hook.remove()
            found.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(found, 1)


@pytest.mark.parametrize(("source", "target"), [("stem", "wide"), ("bn", "wide"), ("stem", CLASSES), ("wide", "head")])
def test_effects_are_those_of_switching_off_where_the_rest_is_affine(source: str, target: str) -> None:
    model = affine()
    x = batch(model, 3)
    # By 1: the map is doubled, and gone.
    slow = slow_effect(model, x, source, target, step=1.0)
    with tap.untouched(model):
        incoming = into(model, x, source, target, range(slow.shape[2]), response="mean")
        outgoing = out_of(model, x, source, target, range(slow.shape[1]), response="mean")
    assert torch.allclose(incoming.double(), slow.transpose(1, 2), atol=1e-6)
    assert torch.allclose(outgoing.double(), slow, atol=1e-6)


@pytest.mark.parametrize("of", ["mean", "peak"])
@pytest.mark.parametrize("net", [net for net in NETS if net not in ("windows", "noisy", "grey")])
def test_effects_are_the_differences_of_a_small_step(net: str, of: str) -> None:
    model = tiny(net, dtype=torch.float64)
    x = batch(model, 2)
    steps = [*default_layers(model), CLASSES]
    for source, target in pairwise(steps):
        slow = slow_effect(model, x, source, target, step=1e-7, of=of)
        with tap.untouched(model):
            incoming = into(model, x, source, target, range(slow.shape[2]), response=of)
            outgoing = out_of(model, x, source, target, range(slow.shape[1]), response=of)
        assert torch.allclose(incoming.double(), slow.transpose(1, 2), atol=1e-5), (source, target)
        assert torch.allclose(outgoing.double(), slow, atol=1e-5), (source, target)


def test_weights_are_the_jacobian_of_what_they_lead_to() -> None:
    """Stem to the grouped convolution with its norm, and that sum to the wide one: from gradients of a middle place."""
    model = affine()
    incoming, outgoing = tap.wires(model, "bn")
    assert isinstance(incoming, tap.Wire)
    assert (incoming.source, incoming.target, incoming.folded) == ("stem", "deep", True)
    assert outgoing == "no convolution or matrix reads bn directly: its output is summed, concatenated or changed first"
    with tap.untouched(model):
        captured = tap.leaf(model, batch(model, 1), ["stem", "bn"], stop=True)
        start, end = captured.activations["stem"], captured.activations["bn"]
        slopes = [torch.autograd.grad(end[0, unit, 8, 8], start, retain_graph=True)[0][0] for unit in range(5)]
    jacobian = torch.stack(slopes).flatten(2)
    assert torch.allclose(incoming.norm.double(), jacobian.norm(dim=2), atol=1e-6)
    assert torch.allclose(incoming.total.double(), jacobian.sum(2), atol=1e-6)
    assert int((incoming.norm > 0).sum()) == 5


def test_the_whole_adds_up_where_it_is_affine_without_a_bias() -> None:
    model = affine()
    model.net.head.bias.data.zero_()
    found = ins.connections(model, "wide", [image(i, width=16, height=16) for i in range(3)])
    (link,) = [link for link in found.links if link.by == "attribution" and link.direction == "out"]
    x = stack([image(i, width=16, height=16) for i in range(3)], model.input).double()
    assert torch.allclose(link.samples.sum(1).double(), model.logits(x), atol=1e-5)
