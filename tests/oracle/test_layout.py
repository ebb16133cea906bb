"""Every arrangement of an output against the same network without it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from networks import batch
from torch import Tensor, nn

from innersight import tap
from innersight.input_spec import InputSpec
from innersight.layers import layers, survey, unreadable
from innersight.model import Model


class Pair(NamedTuple):
    maps: Tensor
    size: int


@dataclass
class Answer:
    hidden: Tensor
    note: str


H, W, UNITS = 6, 9, 5


def tokens(maps: Tensor, before: int) -> Tensor:
    rows = maps.flatten(2).transpose(1, 2)
    return torch.cat([rows.mean(1, keepdim=True).expand(-1, before, -1), rows], 1)


def untokens(rows: Tensor, before: int) -> Tensor:
    return rows[:, before:].transpose(1, 2).unflatten(2, (H, W))


ARRANGEMENTS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor], str, int]] = {
    "convolutional": (lambda m: m, lambda o: o, "buhw", 0),
    "channels last": (lambda m: m.permute(0, 2, 3, 1), lambda o: o.permute(0, 3, 1, 2), "bhwu", 0),
    "tokens": (lambda m: tokens(m, 0), lambda o: untokens(o, 0), "bpu", 0),
    "class token": (lambda m: tokens(m, 1), lambda o: untokens(o, 1), "bpu", 1),
    "registers": (lambda m: tokens(m, 5), lambda o: untokens(o, 5), "bpu", 5),
    "tokens first": (
        lambda m: tokens(m, 1).transpose(0, 1), lambda o: untokens(o.transpose(0, 1), 1), "pbu", 1,
    ),
    "units before tokens": (lambda m: m.flatten(2), lambda o: o.unflatten(2, (H, W)), "bup", 0),
    "tuple": (lambda m: (m, 3), lambda o: o[0], "buhw", 0),
    "list of two": (lambda m: [m.long(), m], lambda o: o[1], "buhw", 0),
    "dict": (lambda m: {"ids": None, "maps": m}, lambda o: o["maps"], "buhw", 0),
    "named tuple": (lambda m: Pair(m, 3), lambda o: o.maps, "buhw", 0),
    "dataclass": (lambda m: Answer(tokens(m, 2), "x"), lambda o: untokens(o.hidden, 2), "bpu", 2),
    "nested": (lambda m: ({"a": [tokens(m, 1)]},), lambda o: untokens(o[0]["a"][0], 1), "bpu", 1),
}  # fmt: skip
PARTS = {"list of two": "[1]", "dict": "['maps']", "named tuple": ".maps", "dataclass": ".hidden", "tuple": "[0]"}


class Arranged(nn.Module):
    """Convolution, its output in another arrangement, and a head that reads it in that arrangement."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.there, self.back = ARRANGEMENTS[name][:2]
        self.stem = nn.Conv2d(3, UNITS, 3, stride=2, padding=1)
        self.arrange = Function(self.there)
        self.late = nn.Conv2d(UNITS, 4, 3, padding=1)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.back(self.arrange(self.stem(x)))
        return self.head(self.late(maps.tanh()).relu().mean((2, 3)))


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Any:
        return self.function(maps)


def arranged(name: str) -> Model:
    torch.manual_seed(0)
    return Model(Arranged(name).double().eval(), InputSpec(2 * H, 2 * W), tuple("abcd"), name, "a test")


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_the_layout_is_measured(name: str) -> None:
    model = arranged(name)
    found = tap.layout(model, "arrange")
    axes, prefix = ARRANGEMENTS[name][2:]
    assert (found.axes, found.units, found.grid, found.prefix) == (axes, UNITS, (H, W), prefix)
    assert found.measured
    if name in PARTS:
        assert found.part == PARTS[name]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_reading_and_writing_go_through_every_arrangement(name: str) -> None:
    model = arranged(name)
    x = batch(model, 3)

    def change(maps: Tensor) -> Tensor:
        return maps.roll(1, 0).sin() - 0.3 * maps.flip(2)

    with tap.untouched(model), torch.no_grad():
        found = tap.capture(model, x, ["stem", "arrange"], stop=False)
        assert torch.equal(found.activations["arrange"], found.activations["stem"])
        assert torch.allclose(found.logits(), model.net(x))
        changed, truth = (tap.replace(model, x, layer, change) for layer in ("arrange", "stem"))
        # The mean that stands before the tokens is not read by the head, so both must give the same.
        assert torch.allclose(changed, truth)
        assert not torch.allclose(changed, found.logits())
        suffix, oracle = (tap.resume(model, x, layer) for layer in ("arrange", "stem"))
        variants = torch.cat([change(suffix.activation), suffix.activation * 2])
        index = torch.tensor([0, 1, 2, 0, 1, 2])
        assert torch.allclose(suffix(variants, index), oracle(variants, index))
        assert suffix.mode in ("resumed", "copied")
    with tap.untouched(model):
        gradients = []
        for layer in ("arrange", "stem"):
            leaf = tap.leaf(model, x, [layer])
            gradients += torch.autograd.grad(leaf.logits()[:, 1].sum(), leaf.activations[layer])
    assert torch.allclose(*gradients)
    assert gradients[0].abs().max() > 0


class Windows(nn.Module):
    """Tokens sorted into windows of 2x2, as in Hiera: neighbours stay near, and the grid is wrong all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 5, stride=4, padding=2)
        self.sorted = nn.Identity()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.tanh(self.stem(x))
        b, u, h, w = maps.shape
        tokens_ = maps.view(b, u, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, h * w, u)
        return self.head(self.sorted(tokens_).mean(1))


@pytest.mark.parametrize("size", [56, 96])
@pytest.mark.parametrize("seed", range(3))
def test_tokens_sorted_into_small_windows_are_refused(size: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = Model(Windows().eval(), InputSpec(size, size), tuple("abc"), "windows", "a test")
    found = tap.layouts(model)["sorted"]
    assert isinstance(found, tap.Unreadable)
    assert "not in the order of the image" in found.why


def test_the_stem_of_another_size_is_read_in_proportion() -> None:
    model = arranged("class token")
    layout = tap.layout(model, "arrange")
    maps = torch.randn(2, UNITS, 4, 6)
    rows = tokens(maps, 1)
    assert torch.equal(layout.read(rows), maps)
    assert torch.equal(layout.write(maps * 2, rows)[:, 1:], rows[:, 1:] * 2)
    assert torch.equal(layout.write(maps * 2, rows)[:, :1], rows[:, :1])
    with pytest.raises(tap.LayoutError, match="23 tokens make no grid in the proportions of 6x9"):
        layout.read(torch.zeros(2, 24, UNITS))
    with pytest.raises(tap.LayoutError, match=r"gave 5 units as bpu now gives \(2, 24, 7\)"):
        layout.read(torch.zeros(2, 24, 7))
    with pytest.raises(tap.LayoutError, match="now gives no tensor"):
        layout.read({"x": torch.zeros(2, 24, UNITS)})


class Oddities(nn.Module):
    """Outputs without units and places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.shuffled = Function(lambda m: m.flatten(2).transpose(1, 2)[:, torch.randperm(H * W * 4, generator=seed())])
        self.words = Function(lambda m: "text")
        self.heads = Function(lambda m: m.flatten(2).unflatten(1, (2, 4)).transpose(2, 3))
        self.deep = Function(lambda m: m[:, None, None])
        self.sums = Function(lambda m: m.flatten(2).sum((1, 2)))
        self.counts = Function(lambda m: m.long())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        for odd in (self.shuffled, self.words, self.heads, self.deep, self.sums, self.counts):
            odd(maps)
        return self.head(maps.mean((2, 3)))


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_what_has_no_units_and_places_is_named_with_the_reason() -> None:
    torch.manual_seed(0)
    model = Model(Oddities().eval(), InputSpec(2 * H, 2 * W), tuple("abcd"), "odd", "a test")
    assert [layer.name for layer in survey(model)] == ["stem", "head"]
    assert unreadable(model) == {
        "shuffled": "returns values that are not in the order of the image",
        "words": "returns str, which holds no floating-point tensor",
        "heads": "returns values that are not in the order of the image",
        "deep": "gives (5, 1, 1, 8, 12, 18), which is not a grid of the image",
        "sums": "gives (5,) for 5 images: windows, heads or tokens instead of images",
        "counts": "returns Tensor, which holds no floating-point tensor",
    }


class Attention(nn.Module):
    """Patches, a class token, two layers with the tokens in front; the class is read from the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.position = nn.Parameter(torch.randn(1, 1 + 4 * 6, 16))
        # Without the fused path of eval mode, in which modules are not called.
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, norm_first=True) for _ in range(2))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.patch(x).flatten(2).transpose(1, 2)
        rows = torch.cat([self.token.expand(len(x), -1, -1), rows], 1) + self.position
        rows = rows.transpose(0, 1)
        for block in self.blocks:
            rows = block(rows)
        return self.head(rows[0])


def test_a_transformer_with_tokens_in_front() -> None:
    torch.manual_seed(0)
    model = Model(Attention().eval(), InputSpec(16, 24), tuple("abcd"), "attention", "a test")
    found = {layer.name: layer for layer in layers(model)}
    for name in ("blocks.0", "blocks.1"):
        assert (found[name].axes, found[name].grid, found[name].prefix) == ("pbu", (4, 6), 1)
    x = batch(model, 2)
    with tap.untouched(model), torch.no_grad():
        maps = tap.capture(model, x, ["blocks.0"]).activations["blocks.0"]
        rows = model.net.patch(x).flatten(2).transpose(1, 2)
        rows = torch.cat([model.net.token.expand(2, -1, -1), rows], 1) + model.net.position
        truth = model.net.blocks[0](rows.transpose(0, 1))
        assert torch.allclose(maps[1, 7, 2, 3], truth[1 + 2 * 6 + 3, 1, 7])
        suffix = tap.resume(model, x, "blocks.0")
        doubled = tap.replace(model, x, "blocks.0", lambda m: m * 2)
        assert torch.allclose(suffix(suffix.activation * 2), doubled, atol=1e-5)
