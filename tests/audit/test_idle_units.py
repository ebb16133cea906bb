"""Dead, saturated and duplicated units are counted where they were planted, with what they cost."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import innersight as ins
from innersight.audit.finding import Finding
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.receptive_field import shares
from innersight.toons import Drawn


def findings(model: Model, per_class: int = 8) -> dict[str, Finding]:
    found = ins.audit(model, Drawn(per_class=per_class, seed=600), checks=["units"])
    assert found.clean
    return {word: one for one in found.findings for word in ("dead", "saturated", "duplicated") if word in one.sentence}


def planted(change: Any) -> Model:
    model = ins.load("toon")
    net = copy.deepcopy(model.net)
    with torch.no_grad():
        change(net)
    return replace(model, net=net)


def test_a_good_network_has_hardly_any() -> None:
    assert set(findings(ins.load("toon"))) <= {"dead"}


def test_dead_units_are_counted_with_their_cost() -> None:
    def kill(net: Any) -> None:
        net.stage3.bn1.weight[:5], net.stage3.bn1.bias[:5] = 0, -1
        net.stage2.conv1.weight[3] = 0

    before = findings(ins.load("toon")).get("dead")
    model = planted(kill)
    found = findings(model)["dead"]
    assert "stage3.conv1 5 of 128" in found.sentence
    assert "stage2.conv1 1 of 64" in found.sentence
    assert found.confirmed
    assert found.effect is not None
    costs = shares(model)
    already = before.effect.value if before is not None and before.effect is not None else 0.0
    expected = costs["stage3.conv1"] * 5 / 128 + costs["stage2.conv1"] / 64
    assert found.effect.value - already == pytest.approx(expected, rel=1e-4)


def test_duplicates_up_to_scale_are_counted_once_each() -> None:
    def double(net: Any) -> None:
        net.stage4.conv2.weight[7] = 3 * net.stage4.conv2.weight[2]
        net.stage4.conv2.weight[9] = 0.5 * net.stage4.conv2.weight[2]
        net.stage4.conv2.weight[11] = -net.stage4.conv2.weight[4]  # no duplicate: the rest of the network differs

    found = findings(planted(double))["duplicated"]
    assert "2 of" in found.sentence
    assert "stage4.conv2 2 of 128" in found.sentence


class Gated(nn.Module):
    """Two units of the sigmoid are stuck at 1, one at 0; of the others none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 6, 3), nn.Sigmoid()
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.conv.bias.copy_(torch.tensor([8.0, 8.0, -8.0, 0, 0, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.conv(x)).mean((2, 3)))


def test_saturated_units_are_counted_and_the_layer_of_the_classes_is_none() -> None:
    torch.manual_seed(0)
    model = Model(Gated().eval(), InputSpec(24, 24, mean=0.5, std=0.25), tuple("abcd"), "gated", "gated")
    found = findings(model)["saturated"]
    assert found.sentence.startswith("3 of 6 units are saturated")


def test_few_images_confirm_nothing() -> None:
    def kill(net: Any) -> None:
        net.stage2.conv1.weight[3] = 0

    assert not findings(planted(kill), per_class=2)["dead"].confirmed


def test_one_pass_over_the_images() -> None:
    found = ins.audit(ins.load("small:4"), Drawn(per_class=2), checks=["units"])
    assert found.passes == 2 * found.images
