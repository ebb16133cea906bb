import json
import math
from collections import OrderedDict

import numpy as np
import pytest
import scipy.stats
import torch
from networks import image, tiny
from safetensors.torch import load_file
from torch import nn

import innersight as ins
from innersight import terminal
from innersight.activations import compute
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, as_image, stack
from innersight.input_spec import InputSpec
from innersight.layers import default_layers
from innersight.matching import DEFINITION
from innersight.matching.assign import assign, interval
from innersight.model import Model

IMAGES = [image(i) for i in range(24)]
ORDER = [3, 0, 5, 1, 4, 2]


def shifts() -> Model:
    """A network whose first units each read one pixel beside them, in red: on noise they have nothing in common."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 12, 5, padding=2)
    nn.init.zeros_(first.weight)
    nn.init.zeros_(first.bias)
    for unit in range(12):
        first.weight.data[unit, 0].view(-1)[2 * unit] = 1
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(12, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Model(
        net.eval(), InputSpec(24, 24, mean=(0.5, 0.5, 0.5)), ("ash", "birch", "cedar", "dogwood"), "shifts", "a test"
    )


def noise(count: int) -> list[Image]:
    generator = np.random.default_rng(0)
    return [as_image(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8), name=f"noise {i}") for i in range(count)]


def permuted(model: Model) -> None:
    """Give the units of the first convolution of tiny "in-place" another order, and those behind what they need."""
    net = model.net
    for name in ("weight", "bias"):
        for module in (net.conv1, net.bn1):
            getattr(module, name).data = getattr(module, name).data[ORDER]
    net.bn1.running_mean, net.bn1.running_var = net.bn1.running_mean[ORDER], net.bn1.running_var[ORDER]
    net.conv2.weight.data = net.conv2.weight.data[:, ORDER]


def test_units_permuted_by_hand_are_found_again() -> None:
    before, after = tiny("in-place"), tiny("in-place")
    permuted(after)
    found = ins.match(before, after, IMAGES, ["conv1", "relu1", "relu2"])
    for layer in ("conv1", "relu1"):
        answering = [unit for unit in range(6) if not found[layer].silent[1, unit]]
        assert [found[layer].partner[unit] for unit in answering] == [ORDER[unit] for unit in answering]
        assert torch.allclose(found[layer].best[answering], torch.ones(len(answering)), atol=1e-6)
        expected = {unit: "same" if ORDER[unit] == unit else "moved" for unit in answering}
        assert {unit: found[layer].verdict(unit) for unit in answering} == expected
        assert found[layer].cka == pytest.approx(1)
    # What comes behind does not know of it.
    assert found["relu2"].counts()["same"] == 8 - found["relu2"].counts()["silent"]


def test_a_checkpoint_and_itself_are_the_same() -> None:
    found = ins.match(tiny("dense"), tiny("dense"), IMAGES)
    for row in found.summary().values():
        assert row["same"] + row["silent"] == row["units"]
        assert row["cka"] == pytest.approx(1)


def test_units_made_anew_are_born_and_silenced_ones_have_died() -> None:
    before, after = shifts(), shifts()
    first, second = before.net[0].weight.data, after.net[0].weight.data
    for unit in (2, 7):
        second[unit] = second[unit].roll(1, 0)  # reads green
    second[4] = second[9] = first[9] = 0
    second[[0, 1]] = second[[1, 0]]
    found = ins.match(before, after, noise(40), ["0"])["0"]
    verdicts = [found.verdict(unit) for unit in range(12)]
    assert {unit: verdict for unit, verdict in enumerate(verdicts) if verdict != "same"} == {
        0: "moved", 1: "moved", 2: "born", 4: "died", 7: "born", 9: "silent",
    }  # fmt: skip
    assert found.died() == [2, 4, 7]
    assert found.counts() == {"same": 6, "moved": 2, "born": 2, "died": 3, "silent": 1}
    assert found.rows()[0]["before"] == 1
    assert found.rows()[2]["before"] is None
    # Chance on noise: the highest of twelve correlations over 40 x 24 x 24 places.
    assert 0 < found.threshold < 0.05


def test_chance_is_what_unrelated_units_reach() -> None:
    before, after = shifts(), shifts()
    after.net[0].weight.data = after.net[0].weight.data.roll(1, 1)
    found = ins.match(before, after, noise(40), ["0"])["0"]
    assert found.counts()["born"] >= 10
    assert found.cka < 0.05


def test_correlation_and_cka_are_those_of_all_places_at_once() -> None:
    before, after = tiny("in-place"), tiny("in-place", seed=1)
    found = ins.match(before, after, IMAGES, ["relu1"])["relu1"]
    x = stack(IMAGES, before.input)
    a, b = (
        compute(model, x, ["relu1"])["relu1"].double().transpose(0, 1).flatten(1).numpy() for model in (before, after)
    )
    slow = np.array([[np.corrcoef(one, two)[0, 1] for two in b] for one in a])
    assert np.allclose(found.correlation, slow, atol=1e-5)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    kernel = np.linalg.norm(a @ b.T) ** 2 / np.linalg.norm(a @ a.T) / np.linalg.norm(b @ b.T)
    assert found.cka == pytest.approx(kernel, abs=1e-6)


def test_the_interval_holds_the_correlation_of_more_images() -> None:
    before, after = tiny("in-place"), tiny("in-place", seed=1)
    many = ins.match(before, after, [image(i) for i in range(100, 220)], ["relu1"])["relu1"].correlation
    held = total = 0
    for start in range(0, 64, 16):
        found = ins.match(before, after, [image(i) for i in range(start, start + 16)], ["relu1"])["relu1"]
        for row in found.rows():
            if row["before"] is not None:
                total += 1
                held += row["interval"][0] <= float(many[row["before"], row["unit"]]) <= row["interval"][1]
    assert total > 10
    assert held / total > 0.75


def test_the_interval_is_tukeys_jackknife_on_fishers_z() -> None:
    found, left = [0.3, -0.7, 0.95], [[0.2, -0.6, 0.9], [0.4, -0.75, 0.97], [0.35, -0.71, 0.96], [0.1, -0.65, 0.94]]
    low, high = interval(torch.tensor(found, dtype=torch.float64), list(torch.tensor(left, dtype=torch.float64)))
    for unit, value in enumerate(found):
        z = [math.atanh(one[unit]) for one in left]
        error = math.sqrt(3 / 4 * sum((one - sum(z) / 4) ** 2 for one in z))
        half = scipy.stats.t.ppf(0.975, 3) * error
        assert float(low[unit]) == pytest.approx(math.tanh(math.atanh(value) - half))
        assert float(high[unit]) == pytest.approx(math.tanh(math.atanh(value) + half))


def test_the_interval_of_opposite_units_is_that_of_equal_ones_with_the_other_sign() -> None:
    # Without the one group in which the unit is active nothing correlates: no certainty at 1 or at -1.
    left = [torch.tensor([r]).double() for r in (1.0, 1.0, 0.0, 1.0)]
    low, high = interval(torch.ones(1).double(), left)
    assert float(low) < 0.999
    less, more = interval(-torch.ones(1).double(), [-part for part in left])
    assert (float(less), float(more)) == (pytest.approx(-float(high)), pytest.approx(-float(low)))


def test_a_unit_keeps_its_number_unless_another_fits_better_by_more_than_its_interval() -> None:
    correlation = torch.tensor([[0.80, 0.81], [0.10, 0.75]], dtype=torch.float64)
    silent = torch.zeros(2, 2, dtype=torch.bool)
    spread = torch.tensor([[0.02, 0.0], [0.0, 0.02]], dtype=torch.float64)
    wide = [correlation - 2 * spread, correlation + 2 * spread, correlation - spread, correlation + spread]
    assert assign("a", correlation, wide, 0.3, silent, 1.0).partner.tolist() == [0, 1]
    crossed = torch.tensor([[0.4, 0.9], [0.9, 0.4]], dtype=torch.float64)
    assert assign("a", crossed, [], 0.3, silent, 1.0).partner.tolist() == [1, 0]
    assert assign("a", crossed, [], 0.95, silent, 1.0).partner.tolist() == [-1, -1]


def test_errors() -> None:
    model = tiny("in-place")
    with pytest.raises(InnersightError, match=r"not the same network: .*stem"):
        ins.match(model, tiny("dense"), IMAGES)
    other = Model(nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 12, 3))), InputSpec(24, 24), ("a",), "other", "")
    with pytest.raises(InnersightError, match=r"conv1 \(6 and 12 units\)"):
        ins.match(model, other, IMAGES, ["conv1"])
    with pytest.raises(InnersightError, match="did you mean conv"):
        ins.match(model, model, IMAGES, ["conv3"])
    with pytest.raises(InnersightError, match="at least two images"):
        ins.match(model, model, image(1))
    with pytest.raises(InnersightError, match="take 1 and 3 bands"):
        ins.match(tiny("grey"), model, IMAGES, ["conv2"])
    with pytest.raises(ImageError, match="no such file"):
        ins.match(model, model, ["missing.png"])
    broken = tiny("in-place")
    broken.net.conv2.weight.data[0] = torch.nan
    with pytest.raises(InnersightError, match="relu2 contains values that are not finite"):
        ins.match(model, broken, IMAGES)


class Bottleneck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.first = nn.Conv2d(4, 8, 1), nn.ReLU()
        self.deep, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
        self.narrow = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.narrow(self.second(self.deep(self.first(self.wide(x)))))


def test_checkpoints_are_matched_where_a_dead_layer_makes_another_one_the_default() -> None:
    def checkpoint(dead: bool) -> Model:
        torch.manual_seed(0)
        block = Bottleneck()
        if dead:
            nn.init.constant_(block.deep.weight, 0.0)
            nn.init.constant_(block.deep.bias, -1.0)
        head = [nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
        net = nn.Sequential(nn.Conv2d(3, 4, 3), block, *head).eval()
        return Model(net, InputSpec(24, 24), ("a", "b"), "checkpoint", "")

    before, after = checkpoint(dead=True), checkpoint(dead=False)
    assert default_layers(before) == ("0", "1.first", "2")
    assert tuple(ins.match(before, after, IMAGES).layers) == default_layers(after) == ("0", "1.second", "2")


def test_another_size_is_told() -> None:
    model = tiny("in-place")
    larger = Model(model.net, InputSpec(32, 32), model.labels, "larger", "")
    found = ins.match(model, larger, IMAGES, ["relu1"])
    assert found.notes == ("before was made for 24x24; both were shown 32x32",)


def test_saving(tmp_path) -> None:
    found = ins.match(tiny("in-place"), tiny("in-place", seed=1), IMAGES)
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert document["definition"] == DEFINITION
    assert document["layers"]["relu1"]["cka"] == found["relu1"].cka
    assert len(document["layers"]["relu1"]["units"]) == 6
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert "correlation.relu1" in load_file(found.save(tmp_path / "a.safetensors"))
    assert found._repr_html_().startswith("<img")
    assert "moved" in terminal.matching(found)
    with pytest.raises(InnersightError, match="was not matched; did you mean relu"):
        found["relu3"]
