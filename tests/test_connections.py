import json

import pytest
import torch
from networks import image, tiny
from safetensors.torch import load_file
from torch import Tensor, nn

import innersight as ins
from innersight import terminal
from innersight.connections import CLASSES, DEFINITION
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.input_spec import InputSpec
from innersight.model import Model

# (unit, the unit it reads, with which weight)
PLANTED = ((0, 2, 3.0), (0, 1, -1.0), (1, 0, 2.0), (2, 2, -4.0), (3, 3, 1.0))


class Planted(nn.Module):
    """Units that each read few known ones, through a norm and an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        nn.init.constant_(self.first.weight, 0.5)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        nn.init.zeros_(self.second.weight)
        for unit, source, weight in PLANTED:
            self.second.weight.data[unit, source, 1, 1] = weight
        self.last = nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.second(self.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


def planted() -> Model:
    torch.manual_seed(0)
    return Model(Planted().eval(), InputSpec(12, 12), ("ash", "birch"), "planted", "a test")


def links(found: ins.connections) -> dict[tuple[str, str], object]:
    return {(link.by, link.direction): link for link in found.links}


def test_planted_connections_are_found_by_weight_and_by_attribution() -> None:
    found = ins.connections(planted(), "second", [image(i) for i in range(4)], before="relu", after=None)
    by = links(found)
    for kind in ("weight", "attribution"):
        for unit in range(3):
            truth = {source: weight for own, source, weight in PLANTED if own == unit}
            # A unit behind a ReLU that is never positive still has what drives it: it is read before.
            rows = found.rank(by[kind, "in"], unit)
            strongest = max(truth, key=lambda source: abs(truth[source]))
            assert rows[0]["unit"] == strongest
            assert (rows[0]["value"] > 0) == (truth[strongest] > 0)
            assert {row["unit"] for row in rows} == set(truth)
            assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert by["weight", "in"].layer == by["attribution", "in"].layer == "relu"
    rows = found.rank(by["weight", "in"], 0)
    assert [(row["address"], row["value"], row["size"]) for row in rows] == [("relu:2", 3, 3), ("relu:1", -1, 1)]
    assert rows[0]["interval"] is None
    (low, high) = found.rank(by["attribution", "in"], 0)[0]["interval"]
    assert 0 < low < high


def test_outgoing_connections_lead_to_the_same_pairs() -> None:
    found = ins.connections(planted(), "relu:2", [image(i) for i in range(4)], after="second")
    by = links(found)
    for kind in ("weight", "attribution"):
        rows = found.rank(by[kind, "out"], 2)
        assert [row["address"] for row in rows] == ["second:2", "second:0"]
        assert [row["value"] > 0 for row in rows] == [False, True]
    effect = found.rank(by["attribution", "out"], 2)[0]["value"] / found.rank(by["attribution", "out"], 2)[1]["value"]
    assert effect == pytest.approx(-4 / 3, rel=1e-5)


def test_the_ends_of_the_network_are_the_bands_and_the_classes() -> None:
    model = tiny("in-place")
    found = ins.connections(model, "relu2:1,0", [image(1)])
    by = links(found)
    assert by["attribution", "out"].layer == CLASSES
    assert found.rank(by["attribution", "out"], 1)[0]["address"].removeprefix("class:") in model.labels
    assert by["attribution", "out"].samples.shape == (1, 2, 4)
    assert found.rank(by["attribution", "out"], 1)[0]["interval"] is None
    assert found.units == (1, 0)
    assert found.notes == (
        "by weight, outgoing: no convolution or matrix reads relu2 directly: its output is summed, "
        "concatenated or changed first",
    )
    first = ins.connections(model, "conv1:0")
    assert [link.layer for link in first.links] == ["input", "conv2"]
    assert first.rank(first.links[0], 0)[0]["address"].startswith("input:")
    told = ins.connections(model, "conv1:0", [image(1)])
    assert "conv1 is the first default layer: name before= to see which units drive it" in told.notes


class ClassToken(nn.Module):
    """Reads the class from a token of its own: the places of its last layer have no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.mixed = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.last = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = self.mixed(torch.cat([self.token.expand(len(x), -1, -1), x], 1))
        return self.head(self.last(x)[:, 0])


def test_attention_is_passed_and_places_that_reach_nothing_are_told() -> None:
    torch.manual_seed(0)
    model = Model(ClassToken().eval(), InputSpec(24, 24), ("ash", "birch", "cedar", "dogwood"), "token", "a test")
    found = ins.connections(model, "last:1", [image(1), image(2)], before="stem")
    incoming, outgoing = found.links[:2]
    assert len(found.rank(incoming, 1)) == 6
    assert found.rank(outgoing, 1) == []
    assert "last:1 has no effect on class" in found.notes
    assert found.figure().axes


def test_an_effect_is_the_mean_over_the_images() -> None:
    images = [image(i) for i in range(3)]
    found = links(ins.connections(tiny("in-place"), "conv2:3", images, before="relu1"))
    alone = [links(ins.connections(tiny("in-place"), "conv2:3", one, before="relu1")) for one in images]
    for direction in ("in", "out"):
        truth = torch.stack([one["attribution", direction].value for one in alone]).mean(0)
        assert torch.allclose(found["attribution", direction].value, truth, atol=1e-6)
        assert torch.allclose(found["attribution", direction].size, truth.abs(), atol=1e-6)
        assert truth.abs().max() > 1e-3


def test_a_function_that_has_one_derivative_only_gives_the_same_effects() -> None:
    """Torch cannot differentiate hardsigmoid twice; clamp(x / 6 + 1 / 2, 0, 1) is the same function, and it can."""

    class Clamped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x / 6 + 0.5).clamp(0, 1)

    def effects(gate: nn.Module) -> dict[tuple[str, str], object]:
        torch.manual_seed(0)
        convs = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), gate, nn.Conv2d(5, 6, 1), nn.ReLU()]
        net = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
        model = ins.load(net, input=InputSpec(16, 16))
        found = ins.connections(model, "1:0-2", [image(1), image(2)], after="5")
        return {key: link.value for key, link in links(found).items()}

    once, twice = effects(nn.Hardsigmoid()), effects(Clamped())
    assert twice["attribution", "out"].abs().max() > 1e-4
    assert torch.allclose(once["attribution", "out"], twice["attribution", "out"], atol=1e-7)


def test_rows_and_batches() -> None:
    images = [image(i) for i in range(19)]
    found = ins.connections(tiny("dense"), "step2", images, response="peak")
    link = next(link for link in found.links if link.by == "attribution")
    alone = ins.connections(tiny("dense"), "step2:3", images[17], response="peak")
    own = next(one for one in alone.links if one.by == "attribution")
    assert torch.allclose(link.samples[17, 3], own.samples[0, 0], atol=1e-6)
    with pytest.raises(InnersightError, match="ask for step2:0"):
        alone.rank(own, 0)


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("relu1:6", {}, "relu1 has no unit 6; its units are 0-5"),
        ("relu1:0@1,2", {}, "names a location"),
        ("class:ash", {}, "names a class"),
        ("relu3:0", {}, "did you mean relu"),
        ("relu1:0", {"response": "sum"}, "choose mean or peak"),
        ("relu1:0", {"before": "conv3"}, "did you mean conv"),
        ("relu1:0", {"after": "conv1"}, "relu1 does not come before conv1"),
        ("relu1:0", {"before": "relu2"}, "relu2 does not come before relu1"),
    ],
)
def test_errors(address: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InnersightError, match=said):
        ins.connections(tiny("in-place"), address, image(1), **options)


def test_more_errors() -> None:
    with pytest.raises(InnersightError, match="give images too"):
        ins.connections(tiny("in-place"), "relu1:0", after="relu2")
    with pytest.raises(ImageError, match="no such file"):
        ins.connections(tiny("in-place"), "relu1:0", "missing.png")


def test_saving(tmp_path) -> None:
    found = ins.connections(tiny("in-place"), "relu1:0-4", [image(i) for i in range(3)])
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert document["definition"] == DEFINITION
    assert [link["layer"] for link in document["links"]] == [link.layer for link in found.links]
    assert document["links"][0]["units"]["4"] == found.rank(found.links[0], 4, 20)
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert "value.in.weight.input" in load_file(found.save(tmp_path / "a.safetensors"))
    assert found._repr_html_().startswith("<img")
    assert "by weight, from input (weights of conv1), batch norm folded in" in terminal.connections(found)


def test_effects_that_are_not_finite_are_told() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[0] = torch.nan
    with pytest.raises(InnersightError, match="not finite on 2 of 2 images"):
        ins.connections(model, "conv2:0", [image(1), image(2)])
