"""What is measured holds for any seed: layers of one unit, silent ones, and those that have learned nothing yet."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from innersight import tap
from innersight.input_spec import InputSpec
from innersight.layer import ReceptiveField
from innersight.layers import last_grid
from innersight.model import Model
from innersight.receptive_field import gradients_reach, receptive_fields
from innersight.tap import suffix

SEEDS = range(50)


def model_of(net: nn.Module, height: int = 64, width: int = 80, *, classes: int = 2) -> Model:
    return Model(
        net.eval(), InputSpec(height, width, mean=0.5, std=0.5), tuple(map(str, range(classes))), "net", "a test"
    )


class Residual(nn.Module):
    """Two convolutions with norms and a shortcut; the last norm begins at zero, as residual branches do."""

    def __init__(self, units: int, kernel: int, dilation: int) -> None:
        super().__init__()
        pad = dilation * (kernel - 1) // 2
        self.conv1 = nn.Conv2d(units, units, kernel, 1, pad, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, kernel, 1, pad, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.relu = nn.ReLU(inplace=True)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


ACTIVATIONS = [nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardtanh, nn.SiLU, nn.LeakyReLU]


def chain(seed: int) -> tuple[nn.Sequential, list[tuple[int, ReceptiveField]]]:
    """Return a random chain of layers of 1 to 3 units, and by arithmetic the field behind each, 0 where it is cut."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    truth: list[tuple[int, ReceptiveField]] = []
    units, size, jump, middle, grid = 3, [1, 1], [1, 1], [0.5, 0.5], [64, 80]
    for _ in range(draw.randint(2, 4)):
        kind = draw.choice(["conv", "conv", "max", "average", "residual"])
        kernel, stride, dilation = draw.choice([1, 2, 3]), draw.choice([1, 1, 2]), draw.choice([1, 1, 2])
        pad, steps = draw.choice([0, dilation * (kernel - 1) // 2]), 1
        if kind == "conv":
            more = draw.randint(1, 3)
            mode = draw.choice(["zeros", "circular", "reflect"])
            parts.append(nn.Conv2d(units, more, kernel, stride, pad, dilation, padding_mode=mode))
            units = more
        elif kind == "max":
            pad = min(pad, kernel // 2)
            parts.append(nn.MaxPool2d(kernel, stride, pad, dilation, ceil_mode=draw.random() < 0.3))
        elif kind == "average":
            dilation, pad = 1, 0
            parts.append(nn.AvgPool2d(kernel, stride))
        else:
            kernel, stride, steps = 3, 1, 2
            pad = dilation
            parts.append(Residual(units, kernel, dilation))
        for side in (0, 1):
            for _step in range(steps):
                middle[side] += ((kernel - 1) * dilation / 2 - pad) * jump[side]
                size[side] += (kernel - 1) * dilation * jump[side]
            jump[side] *= stride
        with torch.no_grad():
            grid = list(nn.Sequential(*parts).eval()(torch.zeros(1, 3, 64, 80)).shape[2:])
        at = [middle[side] + (grid[side] - 1) // 2 * jump[side] for side in (0, 1)]
        truth.append((len(parts) - 1, ReceptiveField((size[0], size[1]), (0, 0), (jump[0], jump[1]), (at[0], at[1]))))
        # Biased far down: silent at nearly every place.
        if draw.random() < 0.5:
            norm = nn.BatchNorm2d(units)
            nn.init.constant_(norm.bias, draw.choice([-5.0, 0.0]))
            parts.append(norm)
        parts.append(draw.choice(ACTIVATIONS)())
        truth.append((len(parts) - 1, truth[-1][1]))
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 2)]
    return nn.Sequential(*parts), truth


@pytest.mark.parametrize("seed", SEEDS)
def test_fields_are_those_of_the_arithmetic(seed: int) -> None:
    net, truth = chain(seed)
    model = model_of(net)
    before = {name: (tensor.clone(), tensor._version) for name, tensor in net.state_dict().items()}
    found = receptive_fields(model, [str(name) for name, _ in truth])
    for name, (tensor, _) in before.items():
        assert torch.equal(net.state_dict()[name], tensor)
    for name, wanted in truth:
        field = found[str(name)]
        assert field.size == wanted.size, (name, net)
        assert field.stride == wanted.stride, (name, net)
        assert field.middle == wanted.middle, (name, net)
        assert all(0 < effective <= size for effective, size in zip(field.effective, field.size, strict=True)), name


@pytest.mark.parametrize(
    "pool", [nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(16), nn.MaxPool2d(5, ceil_mode=True)]
)
def test_pools_see_all_they_are_taken_of(pool: nn.Module) -> None:
    class Over(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.head = nn.Conv2d(3, 1, 1), pool, nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.pool(self.conv(x)).amax((2, 3)))

    found = receptive_fields(model_of(Over(), 16, 16), ["pool", "head"])
    side = 5 if isinstance(pool, nn.MaxPool2d) and pool.kernel_size == 5 else 16
    assert found["pool"].size == (side, side)
    assert found["head"].size == (16, 16)


@pytest.mark.parametrize("share", [0.91, 0.94, 0.96])
def test_the_effective_part_holds_95_percent_of_the_energy(share: float) -> None:
    # One unit, whose kernel is a row: its middle has `share` of the energy, the two ends the rest.
    net = nn.Sequential(nn.Conv2d(1, 1, (1, 7), padding=(0, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[..., 2:5] = (share / 3) ** 0.5
        net[0].weight[..., [0, 6]] = ((1 - share) / 2) ** 0.5
    model = Model(net.eval(), InputSpec(32, 32, 1), ("a", "b"), "net", "a test")
    field = receptive_fields(model, ["0"])["0"]
    assert field.size == (1, 7)
    # By arithmetic: either end counts as soon as it has more than 2.5% of the energy.
    assert field.effective == ((1, 3) if share > 0.95 else (1, 7))


def test_the_effective_part_of_several_units_is_that_of_their_summed_energy() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, (1, 9), padding=(0, 4)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, ..., 2:5] = 1.0
        net[0].weight[1, ..., 4:7] = 1.0
        net[0].weight[..., [0, 8]] = 0.01
    model = Model(net.eval(), InputSpec(32, 32, 1), ("a", "b"), "net", "a test")
    assert receptive_fields(model, ["0"])["0"].effective == (1, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_units_reach_the_class_they_are_wired_to(seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3), nn.ReLU6(inplace=True), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2),
    )  # fmt: skip
    model = model_of(net)
    nn.init.constant_(net[2].bias, -10.0 if seed % 2 else 20.0)
    assert gradients_reach(model, ["0", "1", "2", "3", "4"]) == dict.fromkeys(("0", "1", "2", "3", "4"), True)
    assert last_grid(model) == ("3", "the last layer with a grid (60x76), before pooling")
    nn.init.zeros_(net[7].weight)
    assert not any(gradients_reach(model, ["0", "3"]).values())


def test_a_class_of_probability_one_has_what_it_is_read_from() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2), nn.Softmax(1)
    )
    torch.manual_seed(0)
    nn.init.constant_(net[0].bias, 1.0)
    with torch.no_grad():
        net[4].weight.mul_(1e4)
        net[4].bias.zero_()
    assert gradients_reach(model_of(net), ["0", "1"]) == {"0": True, "1": True}


# Layouts ------------------------------------------------------------------------------------------------------------


class Turns(nn.Module):
    """Maps of a few units, silent or not, in every arrangement."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        units = draw.choice([1, 2, 3, 8])
        self.conv, self.relu = nn.Conv2d(3, draw.choice([1, 2, 3]), 3, 3), draw.choice([nn.ReLU, nn.ReLU6])()
        self.deep, self.act = nn.Conv2d(self.conv.out_channels, units, 3, 1, 1), nn.ReLU(inplace=True)
        nn.init.constant_(self.conv.bias, draw.choice([0.0, -0.8]))
        nn.init.constant_(self.deep.bias, draw.choice([0.0, -0.3, -3.0]))
        self.last, self.tokens, self.rows, self.first = (nn.Identity() for _ in range(4))
        self.head = nn.Linear(units, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.deep(self.relu(self.conv(x))))
        self.tokens(x.flatten(2).transpose(1, 2))
        self.rows(x.flatten(2))
        x = self.first(self.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("seed", SEEDS)
def test_layouts_of_few_and_silent_units(seed: int) -> None:
    model = model_of(Turns(seed), 24, 24)
    found = {name: layout.axes for name, layout in tap.layouts(model).items() if isinstance(layout, tap.Layout)}
    maps = dict.fromkeys(("conv", "relu", "deep", "act", "first"), "buhw")
    assert found == {**maps, "last": "bhwu", "tokens": "bpu", "rows": "bup", "head": "bu"}


# Wiring -------------------------------------------------------------------------------------------------------------


class Mixes(nn.Module):
    """What is done to the units of a map."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        first = torch.zeros_like(x)
        first[:, :1] = x[:, -1:]
        return {
            "by two": lambda: x + x.roll(2, 1),
            "swapped": lambda: x.flip(1),
            "the first takes the last": lambda: x + first,
            "silent, shifted by one": lambda: F.relu(x.roll(1, 1) - 2.5),
            "alone": lambda: F.relu(x - 2.5),
            "pooled": lambda: F.max_pool2d(x, 3, 1, 1),
        }[self.how]()


@pytest.mark.parametrize(
    "how", ["by two", "swapped", "the first takes the last", "silent, shifted by one", "alone", "pooled"]
)
@pytest.mark.parametrize("units", [2, 3, 5, 8])
def test_units_are_kept_apart_where_no_unit_counts_for_another(how: str, units: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, units, 3), Mixes(how), nn.Conv2d(units, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    outgoing = tap.wires(model_of(net, 16, 16), "0")[1]
    # A roll by two of two units is none.
    apart = how in ("alone", "pooled") or (how == "by two" and units == 2)
    assert (not isinstance(outgoing, str) and outgoing[0].target == "2") is apart


# Resuming and affine rests ------------------------------------------------------------------------------------------


class Aside(nn.Module):
    """A layer of one unit that counts little for the scores, beside another that counts for them."""

    def __init__(self, scale: float, *, silent: bool) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 1, 3, padding=1), nn.ReLU()
        self.main = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = scale
        if silent:
            nn.init.constant_(self.conv.bias, -20.0)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.relu(self.conv(x))
        return 100 + self.main(x).mean((2, 3)) + self.scale * kept.square().mean((2, 3))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("images", [1, 2])
def test_a_suffix_that_leaves_the_variants_out_is_noticed(
    silent: bool, scale: float, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = model_of(Aside(scale, silent=silent).double(), 12, 12, classes=4)
    x = torch.rand(images, 3, 12, 12, dtype=torch.float64)
    call = suffix.Suffix.__call__

    def plain(self: suffix.Suffix, variants: Tensor, index: Tensor) -> Tensor:
        return self.output[index]

    with tap.untouched(model), torch.no_grad():
        assert tap.resume(model, x, "relu").mode == "resumed"
        monkeypatch.setattr(suffix.Suffix, "__call__", plain)
        left_out = tap.resume(model, x, "relu")
        monkeypatch.setattr(suffix.Suffix, "__call__", call)
        assert left_out.mode == "full"


class Ruled(Aside):
    """Rules classes out by scores that are no evidence."""

    def __init__(self, scale: float, *, out: int) -> None:
        super().__init__(scale, silent=False)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        ruled = torch.arange(4) < self.out
        return (super().forward(x) - 100).masked_fill(ruled, -1e9)


@pytest.mark.parametrize("out", [1, 3])
def test_a_class_that_is_ruled_out_hides_no_wrong_suffix(out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, x = model_of(Ruled(1.0, out=out), 12, 12, classes=4), torch.rand(2, 3, 12, 12)

    def plain(self: suffix.Suffix, variants: Tensor, index: Tensor) -> Tensor:
        return self.output[index]

    with tap.untouched(model), torch.no_grad():
        assert tap.resume(model, x, "relu").mode == "resumed"
        monkeypatch.setattr(suffix.Suffix, "__call__", plain)
        assert tap.resume(model, x, "relu").mode == "full"


def affine_rest(model: Model, x: Tensor, layer: str) -> bool:
    """Say whether class 0 is an affine function of a layer, as the methods do that make use of it."""
    with tap.untouched(model):
        captured = tap.leaf(model, x, [layer])
        activation = captured.activations[layer]
        (slope,) = torch.autograd.grad(captured.logits()[:, 0].sum(), activation)
        with torch.no_grad():
            values = captured.logits()[:, 0].detach()
            tried = tap.trials(activation.detach(), torch.Generator().manual_seed(0))
            truth = tuple(tap.replace(model, x, layer, lambda _, trial=trial: trial)[:, 0] for trial in tried)
            return tap.affine(activation.detach(), slope, values, tried, truth)


class Rest(nn.Module):
    """A layer of one unit, and a rest that is affine or not."""

    def __init__(self, scale: float, *, silent: bool, square: bool) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 1, 3, padding=1), nn.ReLU()
        self.scale, self.square = scale, square
        if silent:
            nn.init.constant_(self.conv.bias, -20.0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.relu(self.conv(x)).mean((2, 3))
        score = self.scale * (maps.square() + maps if self.square else maps)
        return torch.cat([score, -score], 1)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("silent", [False, True])
def test_a_rest_is_affine_whatever_the_size_of_the_scores(scale: float, silent: bool) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 12, 12)
    assert affine_rest(model_of(Rest(scale, silent=silent, square=False), 12, 12), x, "relu")
    assert not affine_rest(model_of(Rest(scale, silent=silent, square=True), 12, 12), x, "relu")
