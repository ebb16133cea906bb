"""The machine interpretability score of units whose meaning is known: made by hand, or told by masks of parts."""

import json

import numpy as np
import pytest
import torch
from networks import image, tiny
from torch import Tensor, nn
from torch.nn import functional as F

import innersight as ins
from innersight import toons
from innersight.activations import compute
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, as_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns.interpretability import _others, features, interpretability
from innersight.statistics import spearman, wilson
from innersight.toons import PARTS, Toon

RED, GREEN, DEAD, CORNER, RARE = range(5)
SIDE = 16


class Colours(nn.Module):
    """Units for red, for green, for nothing, for the blue of one corner pixel, and for very strong red."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, 3, 1, bias=False)
        self.read.weight.data = torch.eye(3)[:, :, None, None]
        self.units = nn.Identity()
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        red, green, blue = self.read(x).unbind(1)
        corner = F.pad(blue[:, :1, :1], (0, SIDE - 1, 0, SIDE - 1))
        maps = self.units(torch.stack([red, green, 0 * red, corner, (red - 0.9).relu()], 1))
        return self.head(maps.mean((2, 3)))


def colours() -> Model:
    return Model(Colours().eval(), InputSpec(SIDE, SIDE), ("yes", "no"), "colours", "a test")


def plains(count: int) -> list[Image]:
    """Images of one random colour each, the blue of a corner pixel apart."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8).repeat(SIDE, 1).repeat(SIDE, 2)
    pixels[:, 0, 0, 2] = np.random.default_rng(1).integers(0, 256, count)
    return [as_image(one, name=str(i)) for i, one in enumerate(pixels)]


def colour_distance(first: Tensor, second: Tensor) -> Tensor:
    return torch.cdist(first.mean((2, 3)), second.mean((2, 3)))


def plain(*colour: float) -> Tensor:
    return torch.tensor(colour)[:, None, None].expand(3, SIDE, SIDE)


def test_colours_are_told_apart_by_colour_and_an_invisible_corner_is_not():
    found = interpretability(colours(), "units", plains(150), tasks=40, distance=colour_distance)
    assert found.score[RED] >= 0.95
    assert found.score[GREEN] >= 0.95
    assert found.low[CORNER] < 0.5 < found.high[CORNER]
    assert found.soft[RED] > 0.7
    assert abs(found.soft[CORNER] - 0.5) < 0.15
    assert found.distance == "colour_distance"
    assert (found.by, found.explanations, found.images) == ("examples", 4, 150)


def test_a_unit_that_responds_to_nothing_has_no_score_and_is_named():
    found = interpretability(colours(), "units", plains(60), [DEAD, RED], distance=colour_distance)
    assert found.unscored == (f"units:{DEAD}",)
    assert found.tasks.tolist() == [0, 20]
    assert found.score[0].isnan()
    assert not found.score[1].isnan()
    row, other = found.to_json()["units"]
    assert row == {"address": "units:2", "tasks": 0, "score": None, "soft": None, "low": None, "high": None}
    assert other["score"] == float(found.score[1])
    json.dumps(found.to_json(), allow_nan=False)


def test_only_pairs_that_the_unit_tells_apart_are_tasks():
    found = interpretability(colours(), "units", plains(100), [RARE], distance=colour_distance)
    peaks = compute(colours(), stack(plains(100), colours().input), ["units"])["units"][:, RARE].amax((1, 2))
    assert found.tasks.item() == (peaks > 0).sum() - 4
    assert 0 < found.tasks.item() < 20


def test_swapping_patterns_and_negatives_turns_every_answer_round():
    red, cyan = plain(0.9, 0.5, 0.5)[None], plain(0.3, 0.6, 0.5)[None]
    args = colours(), "units", plains(90), [RED]
    found = interpretability(*args, by=red, negatives=cyan, distance=colour_distance)
    turned = interpretability(*args, by=cyan, negatives=red, distance=colour_distance)
    assert found.score.item() >= 0.9
    assert turned.score.item() == pytest.approx(1 - found.score.item(), abs=1e-12)
    assert turned.soft.item() == pytest.approx(1 - found.soft.item(), abs=1e-12)
    assert (found.by, found.explanations) == ("patterns", 1)


def test_patterns_of_another_unit_say_nothing():
    green, magenta = plain(0.5, 0.9, 0.5), plain(0.5, 0.1, 0.5)
    args = colours(), "units", plains(200)
    wrong = interpretability(*args, [RED], by=green[None], negatives=magenta[None], tasks=80, distance=colour_distance)
    assert wrong.low.item() < 0.5 < wrong.high.item()


def test_patterns_without_negatives_and_of_another_size():
    several = torch.stack([plain(1, 0.5, 0.5), plain(0.9, 0.4, 0.6)])[None, :, :, :9, :5]
    found = interpretability(colours(), "units", plains(90), [RED], by=several, distance=colour_distance)
    assert found.score.item() >= 0.85
    assert found.explanations == 2


def test_queries_are_the_extremes_beside_the_explanations_each_once():
    asked = []

    def recorded(first: Tensor, second: Tensor) -> Tensor:
        asked.append((first[:, 0, 1, 1], second[:, 0, 1, 1]))
        return colour_distance(first, second)

    images = [as_image(np.full((SIDE, SIDE, 3), 3 * i, dtype=np.uint8)) for i in np.random.permutation(60)]
    interpretability(colours(), "units", images, [RED], tasks=5, explanations=3, distance=recorded)
    ((queries, shown),) = asked
    levels = [sorted((side * 85).round().int().tolist()) for side in (queries[:5], queries[5:], shown[:3], shown[3:])]
    assert levels == [list(range(52, 57)), list(range(3, 8)), [57, 58, 59], [0, 1, 2]]


def test_a_tie_counts_half():
    def blind(first: Tensor, second: Tensor) -> Tensor:
        return torch.zeros(len(first), len(second))

    found = interpretability(colours(), "units", plains(60), [RED], tasks=5, distance=blind)
    assert (found.score.item(), found.soft.item()) == (0.5, 0.5)
    assert (found.low.item(), found.high.item()) == (wilson(2, 5)[0], wilson(3, 5)[1])


def test_a_unit_has_the_same_score_whichever_others_are_asked_for():
    model, images = tiny("in-place"), [image(i) for i in range(40)]
    every = interpretability(model, "conv2", images, tasks=8)
    some = interpretability(model, "conv2", images, [5, 2], tasks=8)
    assert some.score.tolist() == every.score[[5, 2]].tolist()
    assert every.score.tolist() == interpretability(model, "conv2", images, tasks=8).score.tolist()
    # conv2 is a default layer by its activation, which is left out with it.
    assert every.distance == "features of relu1"


def test_layers_of_the_default_leave_out_the_unit_s_own():
    model = ins.load("toon")
    without = {"stem": "stem", "stage2.conv1": "stage2", "stage2.relu2": "stage2", "stage3": "stage3", "head": "stage4"}
    for layer, own in without.items():
        assert set(_others(model, layer)) == {"stem", "stage1", "stage2", "stage3", "stage4"} - {own}
    assert _others(tiny("noisy"), "conv") == ("conv",)


def test_features_are_as_written_down():
    model = tiny("in-place")
    x = torch.rand(20, 3, 24, 24)
    found = features(model, ["relu1", "conv2"])(x, x[:3])
    maps = compute(model, model.input.normalise(x), ["relu1", "conv2"])
    expected = torch.zeros(20, 3, dtype=torch.float64)
    for values in maps.values():
        unit = values.double() / values.double().norm(dim=1, keepdim=True).clamp(min=1e-12)
        expected += (unit[:, None] - unit[None, :3]).square().sum(2).mean((2, 3)) / 2
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_files_are_read_and_bad_ones_skipped(tmp_path):
    for i in range(12):
        image(i).pil.save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = interpretability(tiny("in-place"), "conv2", tmp_path, [0], tasks=3, explanations=2)
    assert found.images == 12
    assert len(found.skipped) == 1
    assert "bad.png" in found.skipped[0]
    with pytest.raises(ImageError, match=r"bad\.png"):
        interpretability(tiny("in-place"), "conv2", tmp_path / "bad.png", [0])


def test_the_network_is_left_as_it_was():
    model = tiny("in-place")
    model.net.train()
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    drawn = torch.get_rng_state()
    interpretability(model, "conv2", [image(i) for i in range(10)], [1], tasks=3, explanations=2)
    assert model.net.training
    assert all(parameter.requires_grad for parameter in model.net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "unit"}, "did you mean units"),
        ({"units": [5]}, "units has units 0-4, not 5"),
        ({"units": []}, "not none at all"),
        ({"tasks": 0}, "tasks=0"),
        ({"explanations": 0}, "explanations=0"),
        ({}, "20 tasks and 4 examples a side need 48 images, but 12 could be read"),
        ({"by": torch.zeros(5, 3, 16, 16)}, "20 tasks and 0 examples a side need 40 images"),
        ({"by": "pattern"}, "by='pattern': choose examples or patterns"),
        ({"negatives": torch.zeros(5, 3, 16, 16)}, "by='examples' with negatives"),
        ({"by": torch.zeros(4, 3, 16, 16)}, r"patterns are \(4, 3, 16, 16\); give \(5, 3, H, W\)"),
        ({"by": torch.full((5, 3, 16, 16), 2.0)}, "patterns range from 2 to 2; give 0 to 1"),
        ({"by": torch.zeros(5, 3, 9, 9), "negatives": torch.zeros(3, 9, 9)}, "negatives are"),
        ({"tasks": 2, "distance": lambda a, b: torch.zeros(3, 3)}, r"the distance returned \(3, 3\)"),
        ({"tasks": 2, "distance": lambda a, b: torch.full((len(a), len(b)), torch.nan)}, "32 of them not finite"),
    ],
)
def test_errors_name_value_and_remedy(options, message):
    with pytest.raises(InnersightError, match=message):
        interpretability(colours(), **{"layer": "units", "images": plains(12), **options})


# Against the truth of drawn images: a judge that knows no network, only the parts.


def drawn(first_seed: int, count: int) -> list[Toon]:
    return [toons.draw(toons.CLASSES[i % len(toons.CLASSES)], first_seed + i) for i in range(count)]


def in_parts(toon: Toon) -> Tensor:
    """Return the area and mean colour of every part: (parts * 4,)."""
    pixels = torch.from_numpy(np.array(toon.pixels)).double() / 255
    masks = torch.stack([torch.from_numpy(np.array(toon.mask(part))) for part in PARTS]).double()
    colour = torch.einsum("phw,hwc->pc", masks, pixels) / masks.sum((1, 2)).clamp(min=1)[:, None]
    return torch.cat([masks.mean((1, 2))[:, None], colour], 1).flatten()


def key(pixels: Tensor) -> bytes:
    return (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy().tobytes()


class Cast:
    """Toons to draw queries from, others to explain with, and the judge that knows the parts of all."""

    def __init__(self) -> None:
        self.model = ins.load("toon")
        self.asked, self.shown = drawn(90_000, 160), drawn(95_000, 160)
        both = [*self.asked, *self.shown]
        known = torch.stack([in_parts(toon) for toon in both])
        known = (known - known.mean(0)) / known.std(0).clamp(min=1e-6)
        self._known = {np.array(toon.pixels).tobytes(): row for toon, row in zip(both, known, strict=True)}
        self.images = [as_image(np.array(toon.pixels)) for toon in self.asked]
        x = stack([as_image(np.array(toon.pixels)) for toon in self.shown], self.model.input)
        self.peaks = compute(self.model, x, ["stage3"])["stage3"].amax((2, 3))
        self.pixels = self.model.input.denormalise(x).clamp(0, 1)

    def overlap(self, layer: str) -> Tensor:
        """Return (units,): the IoU of the highest hundredth of each map with the part it overlaps most."""
        x = stack(self.images, self.model.input)
        maps = compute(self.model, x, [layer])[layer].transpose(0, 1)
        on = (maps > maps[:, :, ::3, ::3].flatten(1).quantile(0.99, dim=1)[:, None, None, None]).float()
        masks = torch.stack([torch.from_numpy(np.array(toon.parts)) for toon in self.asked])
        parts = F.interpolate(
            F.one_hot(masks.long(), len(PARTS)).permute(0, 3, 1, 2).float(), maps.shape[2:], mode="area"
        )
        both = torch.einsum("ubhw,bphw->up", on, parts)
        return (both / (on.sum((1, 2, 3))[:, None] + parts.sum((0, 2, 3)) - both)).amax(1)

    def judge(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = (torch.stack([self._known[key(one)] for one in side]) for side in (first, second))
        return torch.cdist(a, b)


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast()


def test_parts_alone_tell_apart_what_examples_of_a_unit_promise_and_those_of_another_do_not(cast):
    order = cast.peaks.argsort(0, descending=True)
    near, far = cast.pixels[order[:4].T], cast.pixels[order[-4:].T]
    args = cast.model, "stage3", cast.images
    own = interpretability(*args, by=near, negatives=far, distance=cast.judge)
    other = interpretability(*args, by=near.roll(1, 0), negatives=far.roll(1, 0), distance=cast.judge)
    assert own.score.median() >= 0.8
    assert 0.4 <= other.score.mean() <= 0.65
    assert (own.score > other.score).double().mean() >= 0.8
    assert not own.unscored


def test_the_network_s_own_features_rank_units_as_the_parts_do(cast):
    args = cast.model, "stem", cast.images
    by_features = interpretability(*args, tasks=12)
    by_parts = interpretability(*args, tasks=12, distance=cast.judge)
    assert by_features.distance == "features of stage1, stage2, stage3, stage4"
    assert by_features.score.median() >= 0.75
    assert spearman(by_features.soft.tolist(), by_parts.soft.tolist()) > 0.2
    # Units whose map lies on one part are told better. Deeper layers do not show it.
    assert spearman(by_features.soft.tolist(), cast.overlap("stem").tolist()) > 0.15
