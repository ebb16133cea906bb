"""Receptive fields and costs against arithmetic, and whether places reach the class against a class token."""

import torch
from networks import tiny
from torch import Tensor, nn

from innersight.input_spec import InputSpec
from innersight.layer import ReceptiveField
from innersight.layers import default_layers, last_grid, layers
from innersight.model import Model
from innersight.receptive_field import gradients_reach, receptive_fields, shares


def model_of(net: nn.Module, height: int = 65, width: int = 81) -> Model:
    return Model(net.eval(), InputSpec(height, width), tuple("abcd"), "net", "a test")


def test_fields_of_convolutions_and_pools_follow_the_arithmetic() -> None:
    torch.manual_seed(0)
    # (kernel, stride, dilation) of each; field grows by (kernel - 1) * dilation * stride so far.
    steps = [(7, 2, 1), (3, 2, 1), (3, 1, 2), ((5, 1), (1, 1), 1), (3, 2, 1)]
    net = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, 1, 2, dilation=2),
        nn.Conv2d(8, 8, (5, 1), 1, (2, 0)),
        nn.AvgPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    model = model_of(net)
    found = receptive_fields(model, [layer.name for layer in layers(model, all=True)])
    grid = {layer.name: layer.grid for layer in layers(model, all=True)}
    size, jump, middle = [1, 1], [1, 1], [0.5, 0.5]
    padding = [3, 1, 2, (2, 0), 1]
    for i, (kernel, stride, dilation) in enumerate(steps):
        for side in range(2):
            k = kernel if isinstance(kernel, int) else kernel[side]
            s = stride if isinstance(stride, int) else stride[side]
            pad = padding[i] if isinstance(padding[i], int) else padding[i][side]
            size[side] += (k - 1) * dilation * jump[side]
            # The first place looks at the middle of a kernel that begins `pad` places outside.
            middle[side] += ((k - 1) * dilation / 2 - pad) * jump[side]
            jump[side] *= s
            places = found[str(i)]
            at = (grid[str(i)][side] - 1) // 2
            assert places.middle[side] == middle[side] + at * jump[side], (i, side)
        assert found[str(i)].size == tuple(size), i
        assert found[str(i)].stride == tuple(jump), i
        assert all(e <= s for e, s in zip(found[str(i)].effective, size, strict=True))
    assert found["5"].size == (65, 81)
    assert found["7"].size == (65, 81)


def test_the_field_stops_at_the_image() -> None:
    torch.manual_seed(0)
    convs = [nn.Conv2d(3 if i == 0 else 4, 4, 5, padding=2) for i in range(6)]
    net = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    model = model_of(net, 16, 64)
    found = receptive_fields(model, ["0", "5"])
    assert found["0"] == ReceptiveField((5, 5), found["0"].effective, (1, 1), (7.5, 31.5))
    assert found["5"].size == (16, 25)


def test_most_of_the_gradient_is_in_the_effective_part() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 21, padding=10), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[..., 8:13, 10] = 1.0
        net[0].weight[..., 0, 10] = 0.1
    field = receptive_fields(model_of(net), ["0"])["0"]
    assert field.size == (13, 1)
    assert field.effective == (5, 1)


def test_shares_are_those_of_the_multiplications() -> None:
    model = tiny("in-place")
    convs = (24 * 24 * 6 * 3 * 9, 12 * 12 * 8 * 6 * 9)
    head = 8 * 4
    total = sum(convs) + head
    found = shares(model)
    for name, cost in (("conv1", convs[0]), ("conv2", convs[1]), ("head", head), ("bn1", 0)):
        assert found[name] == cost / total, name
    listed = {layer.name: layer for layer in layers(model, measure=True)}
    assert listed["conv1"].compute_share == convs[0] / total
    assert listed["conv1"].receptive_field is not None
    assert layers(model, measure=False)[0].receptive_field is None


class ClassToken(nn.Module):
    """Two mixing blocks over a class token and patches; the class is read from the class token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 8, 8)
        self.blocks = nn.ModuleList(Mix() for _ in range(4))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.patch(x).flatten(2).transpose(1, 2)
        rows = torch.cat([rows.new_ones(len(x), 1, 8), rows], 1)
        for block in self.blocks:
            rows = block(rows)
        return self.head(self.norm(rows)[:, 0])


class Mix(nn.Module):
    """Every token gains something of the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.mix(rows.mean(1, keepdim=True)).tanh()


def test_heatmaps_are_read_where_places_still_reach_the_class() -> None:
    torch.manual_seed(0)
    model = model_of(ClassToken(), 64, 64)
    assert default_layers(model) == ("patch", "blocks.0", "blocks.1", "blocks.2", "norm")
    assert gradients_reach(model, ["blocks.2", "blocks.3", "norm"]) == {
        "blocks.2": True,
        "blocks.3": False,
        "norm": False,
    }
    name, why = last_grid(model)
    assert name == "blocks.2"
    assert "(8x8) reaches the class" in why


def test_no_gradient_reaches_a_layer_under_a_head_of_zeros() -> None:
    model = tiny("in-place")
    nn.init.zeros_(model.net.head.weight)
    name, why = last_grid(model)
    assert name == "relu2"
    assert "no gradient of the class reaches it" in why


class Windows(nn.Module):
    """Patches of 4 px, then the mean of each window of 4x4 patches added to its patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.window = nn.AvgPool2d(4)
        self.mixed = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patch(x)
        maps = self.mixed(maps + self.window(maps).repeat_interleave(4, 2).repeat_interleave(4, 3))
        return self.head(maps.mean((2, 3)))


def test_neighbours_that_share_a_window_have_the_stride_of_the_grid() -> None:
    torch.manual_seed(0)
    found = receptive_fields(model_of(Windows(), 96, 64), ["patch", "mixed"])
    assert found["patch"].stride == found["mixed"].stride == (4, 4)
    assert found["mixed"].size == (16, 16)


class TwoHeads(nn.Module):
    """A second output with layers of its own behind the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 2, 1)
        self.aside = nn.Conv2d(8, 8, 3, 2, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.deep(self.conv(x).relu())
        return self.head(maps.mean((2, 3))), self.aside(maps)


def test_layers_of_another_output_are_not_called_tokens() -> None:
    torch.manual_seed(0)
    name, why = last_grid(model_of(TwoHeads(), 64, 64))
    assert name == "deep"
    assert why.endswith("after it, locations do not affect the scores")
