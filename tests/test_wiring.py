import pytest
import torch
from networks import NETS, tiny
from torch import Tensor, nn

import innersight as ins
from innersight import tap
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.model import Model


def model_of(net: nn.Module, size: int = 16) -> Model:
    return Model(net.eval(), InputSpec(size, size), ("a", "b"), "made", "a test")


def test_a_chain_is_followed_through_norms_activations_and_pools() -> None:
    model = tiny("in-place")
    for layer in ("conv1", "bn1", "relu1", "pool1"):
        incoming, outgoing = tap.wires(model, layer)
        assert isinstance(incoming, tap.Wire)
        assert (incoming.source, incoming.target, incoming.folded) == (tap.IMAGE, "conv1", True)
        (wire,) = outgoing
        assert (wire.source, wire.target, wire.folded) == ("pool1", "conv2", False)
        weight = model.net.conv2.weight.detach()
        assert torch.allclose(wire.norm, weight.flatten(2).norm(dim=2))
        assert torch.allclose(wire.total, weight.sum((2, 3)))
        scale = model.net.bn1.weight / (model.net.bn1.running_var + model.net.bn1.eps).sqrt()
        folded = model.net.conv1.weight * scale[:, None, None, None]
        assert torch.allclose(incoming.total, folded.detach().sum((2, 3)), atol=1e-6)


def test_what_is_written_in_place_is_another_tensor() -> None:
    # conv1 and relu1 share memory: conv2 reads what is in it after the activation, and pool1 after that.
    incoming, _ = tap.wires(tiny("in-place"), "conv2")
    assert isinstance(incoming, tap.Wire)
    assert incoming.source == "pool1"


def test_joined_and_added_layers_have_no_weights_of_their_own() -> None:
    model = tiny("dense")
    incoming, outgoing = tap.wires(model, "stem")
    assert isinstance(incoming, tap.Wire)
    assert (
        outgoing == "no convolution or matrix reads stem directly: its output is summed, concatenated or changed first"
    )
    # The norm that reads the joined layers gives all of their units.
    (wire,) = tap.wires(model, "step2.1")[1]
    assert (wire.source, wire.target, wire.norm.shape) == ("step2.1", "step2.2", (4, 8))
    assert tap.wires(model, "step2.1")[0] == (
        "step2.1 is not the output of one convolution or matrix, so no weights belong to it alone"
    )
    inside = str(tap.wires(ins.load("toon"), "stage3")[0])
    assert inside.endswith("; choose a layer inside it, such as stage3.conv2 or stage3.shortcut.0")
    assert "head reads no single layer, but a sum" in str(tap.wires(model, "head")[0])
    assert "conv2 reads no single layer, but a sum" in str(tap.wires(tiny("functional"), "conv2")[0])


def test_each_call_of_a_module_has_its_own_source() -> None:
    model = tiny("twice")
    assert [wire.target for wire in tap.wires(model, "block")[1]] == ["block.0#2"]
    assert tap.wires(model, "block#2")[0].source == "block"


class Rows(nn.Module):
    """A padded depthwise convolution, a flattened map and a matrix over all its values; weights made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.deep = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 8, 3, groups=4))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(nn.functional.pad(self.stem(x), (1, 1, 1, 1)))
        return self.head(torch.flatten(self.pool(x), 1))


def test_groups_padding_and_flattened_maps() -> None:
    torch.manual_seed(0)
    model = model_of(Rows())
    incoming, outgoing = tap.wires(model, "deep")
    assert (incoming.source, incoming.norm.shape) == ("stem", (8, 4))
    assert (incoming.norm > 0).nonzero().tolist() == [[unit, unit // 2] for unit in range(8)]
    assert torch.allclose(incoming.norm.sum(1), model.net.deep.weight.detach().flatten(1).norm(dim=1))
    (wire,) = outgoing
    assert (wire.source, wire.target, wire.norm.shape) == ("pool", "head", (2, 8))
    assert torch.allclose(wire.total, model.net.head.weight.detach().view(2, 8, 4).sum(2))


def test_a_norm_over_units_keeps_none_to_itself() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(1, 6), nn.Conv2d(6, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = model_of(net)
    assert isinstance(tap.wires(model, "0")[1], str)
    assert isinstance(tap.wires(model, "1")[0], str)
    assert tap.wires(model, "2")[0].source == "1"


@pytest.mark.parametrize("net", NETS)
def test_every_layer_has_weights_or_a_reason(net: str) -> None:
    model = tiny(net)
    for layer, found in tap.layouts(model).items():
        if not isinstance(found, tap.Layout):
            continue
        incoming, outgoing = tap.wires(model, layer)
        for wire in [incoming, *([outgoing] if isinstance(outgoing, str) else outgoing)]:
            assert isinstance(wire, str) or wire.norm.shape == wire.total.shape
            assert isinstance(wire, str) or bool((wire.norm >= 0).all())


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(InnersightError, match="did you mean conv"):
        tap.wires(tiny("in-place"), "conv")
