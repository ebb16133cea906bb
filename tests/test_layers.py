"""Which layers are listed, and whether the default layers do."""

import pytest
import timm
import torch
import torchvision
from networks import tiny
from torch import nn

from innersight import tap
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.layers import check_layers, default_layers, last_grid, last_rectified, layers, survey
from innersight.model import Model


def published(name: str) -> Model:
    size = 96 if name == "inception_v3" else 64
    torch.manual_seed(0)
    if name.startswith("timm:"):
        net = timm.create_model(name.removeprefix("timm:"))
    elif name == "inception_v3":
        net = torchvision.models.inception_v3(init_weights=False)
    else:
        net = torchvision.models.get_model(name)
    return Model(net.eval(), InputSpec(size, size), tuple(map(str, range(1000))), name, "a test")


NETS = [
    "resnet18",
    "densenet121",
    "inception_v3",
    "convnext_tiny",
    "mobilenet_v3_small",
    "squeezenet1_1",
    "vgg11",
    "shufflenet_v2_x0_5",
    "timm:tf_efficientnet_lite0",
]


@pytest.mark.parametrize("name", NETS)
def test_the_story_runs_from_the_input_to_the_last_grid(name: str) -> None:
    model = published(name)
    known = {layer.name: layer for layer in survey(model)}
    told = default_layers(model)
    steps = [known[step] for step in told]
    assert 3 <= len(told) <= 5
    assert [step for step in known if step in told] == list(told)
    assert all(step.grid != (1, 1) for step in steps)
    sides = [step.grid[0] * step.grid[1] for step in steps]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > sides[-1]
    # It starts with what reads the image and ends before the pooling: nothing with a grid comes later.
    first_conv = next(n for n, m in model.net.named_modules() if isinstance(m, nn.Conv2d))
    order = list(known)
    assert order.index(told[0]) <= order.index(first_conv) + 6
    grids_after = [known[n].units for n in order[order.index(told[-1]) + 1 :] if known[n].grid == steps[-1].grid]
    assert all(units <= steps[-1].units for units in grids_after), grids_after
    assert last_grid(model)[0] == told[-1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:tf_efficientnet_lite0", ("bn1", "blocks.1.1.bn2", "blocks.3.2.bn2", "blocks.5.3.bn2", "bn2")),
        (
            "mobilenet_v2",
            ("features.0", "features.4.conv.1", "features.9.conv.1", "features.14.conv.1", "features.18"),
        ),
    ],
)
def test_the_story_is_told_behind_the_nonlinearity_of_linear_bottlenecks(name: str, expected: tuple[str, ...]) -> None:
    model = published(name)
    assert default_layers(model) == expected
    x = torch.rand(2, *model.input.shape)
    with torch.no_grad():
        for layer in expected:
            assert float(tap.capture(model, x, [layer]).activations[layer].min()) >= 0, layer


def test_a_branch_that_begins_at_zero_is_not_taken_for_a_rectified_one() -> None:
    """Blocks of residual networks often begin as the identity: a norm with weights of 0 gives 0 everywhere."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
            self.last = nn.BatchNorm2d(4)
            nn.init.zeros_(self.last.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.last(self.relu(self.conv(x)))

    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *(Block() for _ in range(3)), *head).eval()
    model = Model(net, InputSpec(16, 16), ("a", "b", "c"), "begun", "a test")
    assert default_layers(model) == ("0", "1.relu", "2.relu", "3")


def test_a_gate_is_not_taken_for_a_rectified_layer() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.conv, self.gate = nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(self.relu(x))
            return x + y * self.gate(y)

    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *(Block() for _ in range(3)), *head).eval()
    model = Model(net, InputSpec(16, 16), ("a", "b", "c"), "gated", "a test")
    assert default_layers(model) == ("0", "1.relu", "2.relu", "3")


def test_parts_that_are_rectified_stay_whole() -> None:
    assert default_layers(published("resnet18")) == ("relu", "layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_story_has_as_many_steps_as_asked(count: int) -> None:
    model = published("resnet18")
    told = default_layers(model, count)
    assert len(told) == len(set(told)) == min(count, len(default_layers(model, 99)))
    assert told[-1] == "layer4"


def test_layers_are_listed_in_the_order_they_are_reached() -> None:
    model = tiny("in-place")
    assert [layer.name for layer in layers(model, all=True)] == [
        "conv1", "bn1", "relu1", "pool1", "conv2", "relu2", "dropout", "head",
    ]  # fmt: skip
    assert [layer.name for layer in layers(model)] == ["conv1", "conv2", "head"]
    conv, head = layers(model)[0], layers(model)[-1]
    assert (conv.kind, conv.role, conv.units, conv.grid, conv.parameters) == ("Conv2d", "conv", 6, (24, 24), 6 * 28)
    assert (head.role, head.units, head.grid) == ("linear", 4, (1, 1))


def test_roles() -> None:
    roles = {layer.name: layer.role for layer in layers(tiny("dense"), all=True)}
    assert roles["step1"] == "block"
    assert roles["step1.0"] == "norm"
    assert roles["step1.1"] == "activation"
    assert {layer.name: layer.role for layer in layers(tiny("in-place"), all=True)}["pool1"] == "pool"


def test_grids_are_height_by_width() -> None:
    assert layers(tiny("wide"))[0].grid == (20, 34)


def test_a_network_without_any_grid() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    model = Model(net, InputSpec(4, 4), ("a", "b", "c"), "plain", "a test")
    assert [layer.name for layer in layers(model)] == ["1", "3"]
    assert default_layers(model) == ("2", "3")
    with pytest.raises(InnersightError, match=r"no layer of plain has maps larger than 1x1: 0, 1, 2 and 1 more give"):
        last_grid(model)


def test_names_are_checked_and_kept_in_order() -> None:
    model = tiny("windows")
    assert [layer.name for layer in check_layers(model, ["head", "late"])] == ["head", "late"]
    with pytest.raises(InnersightError, match=r"no layer 'lat'; did you mean late\?"):
        check_layers(model, ["lat"])
    with pytest.raises(InnersightError, match=r"stem of tiny windows gives \(20, 6, 12, 12\) for 5 images: windows"):
        check_layers(model, ["stem"])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("timm:tf_efficientnet_lite0", "bn2"),
        ("vgg11", "features.19"),
        ("convnext_tiny", "features.7"),
    ],
)
def test_the_last_rectified_layer_is_behind_a_linear_bottleneck_and_before_the_pool(name: str, layer: str) -> None:
    assert last_rectified(published(name)) == layer
