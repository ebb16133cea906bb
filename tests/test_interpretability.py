"""Two-alternative forced choice: explanations tell what drives a unit from what does not, or they do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from safetensors.torch import load_file
from torch import nn

import innersight as ins
from innersight import toons
from innersight.errors import InnersightError
from innersight.image import Image, as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import interpretability
from innersight.patterns import patterns as draw
from innersight.patterns.interpretability import _score
from innersight.statistics import wilson

SIDE = 16


class Colours(nn.Module):
    """Unit 0 answers to red, unit 1 to blue, unit 2 to nothing; a second layer keeps them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, bias=False)
        self.second = nn.Conv2d(3, 3, 1, bias=False)
        self.third = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, -0.5, -0.5], [-0.5, -0.5, 1.0], [0, 0, 0]])[..., None, None])
            self.second.weight.copy_(torch.eye(3)[..., None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.third(self.second(self.first(x).relu())).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model(Colours().eval(), InputSpec(SIDE, SIDE), ("a", "b"), "colours", "a test")


@pytest.fixture(scope="module")
def images() -> list[Image]:
    """Sixty plain images of colours between red and blue, with some noise."""
    random = np.random.default_rng(0)
    found = []
    for i in range(60):
        share = i / 59
        base = np.array([share, 0.2, 1 - share])
        pixels = (base + random.normal(0, 0.05, (SIDE, SIDE, 3))).clip(0, 1)
        found.append(as_image((pixels * 255).astype(np.uint8), name=f"{i}.png"))
    return found


def colour(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The distance between mean colours."""
    return torch.cdist(first.mean((2, 3)), second.mean((2, 3)))


def test_examples_of_a_clear_unit_tell_its_images_apart(model: Model, images: list[Image]) -> None:
    found = interpretability(model, "first", images, tasks=12, distance=colour)
    assert found.units == (0, 1, 2)
    assert found.score[:2].tolist() == [1.0, 1.0]
    assert (found.low[:2] > 0.7).all()
    assert (found.soft[:2] > 0.7).all()
    assert found.distance == "colour"


def test_copies_are_no_tasks_beside_their_own_explanations(model: Model, images: list[Image]) -> None:
    plain = interpretability(model, "first", images, tasks=12, distance=colour)
    again = [replace(image, name=f"copy of {image.name}") for image in images[:20]]
    found = interpretability(model, "first", [*images, *again], tasks=12, distance=colour)
    assert found.to_json() | {"notes": []} == plain.to_json()
    assert found.images == len(images)
    assert found.notes == ("20 images are copies of others, such as copy of 0.png of 0.png: each counts once",)
    # Noise that says nothing: with four of each, a copy among the explanations would give the answer away.
    rng = np.random.default_rng(5)
    noise = [as_image(rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8), name=f"{n}.png") for n in range(40)]
    every = [replace(one, name=f"{n} {one.name}") for one in noise for n in range(4)]

    def nearest(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        same = (first.flatten(1)[:, None] == second.flatten(1)[None]).all(2)
        return 1 - same.float()

    blind = interpretability(model, "first", every, [0], tasks=12, distance=nearest)
    assert float(blind.score) == 0.5


def test_scores_are_their_definition() -> None:
    generator = torch.Generator().manual_seed(4)
    distances = torch.rand(6, 5, generator=generator) * 3
    distances[3] = distances[0] * torch.tensor([0.5, 0.5, 1, 1, 1])
    score, soft, low, high, count = _score(
        torch.zeros(6, 3, 2, 2), torch.zeros(2, 3, 2, 2), torch.zeros(3, 3, 2, 2), lambda a, b: distances
    )
    table = distances.double().numpy()
    away = table[:, :2].mean(1) - table[:, 2:].mean(1)
    margins = [away[3 + i] - away[i] for i in range(3)]
    assert count == 3
    assert score == sum(margin > 0 for margin in margins) / 3
    assert soft == pytest.approx(np.mean([1 / (1 + np.exp(-margin / table.std())) for margin in margins]))
    assert (low, high) == wilson(int(sum(margin > 0 for margin in margins)), 3)


def test_a_dead_unit_has_no_score_and_is_named(model: Model, images: list[Image]) -> None:
    found = interpretability(model, "first", images, tasks=12, distance=colour)
    assert found.unscored == ("first:2",)
    assert bool(found.score[2].isnan())
    assert found.to_json()["units"][2]["score"] is None


def test_it_is_drawn_and_saved_highest_first(model: Model, images: list[Image], tmp_path: Path) -> None:
    found = interpretability(model, "first", images, tasks=12, distance=colour)
    assert set(found.rank()) == {0, 1}
    axis = found.figure().axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == [str(i) for i in found.rank()]
    assert axis.lines[0].get_ydata().tolist() == [1.0, 1.0]
    assert "1 unit without a task" in axis.get_title(loc="left")
    assert torch.equal(load_file(found.save(tmp_path / "a.safetensors"))["tasks"], found.tasks)
    assert "<img" in found._repr_html_()


def test_patterns_and_their_opposites(model: Model, images: list[Image]) -> None:
    red, blue = torch.zeros(2, 1, 3, SIDE, SIDE)
    red[:, 0], blue[:, 2] = 1, 1
    options = {"tasks": 12, "distance": colour, "units": [0]}
    right = interpretability(model, "first", images, by=red[None], negatives=blue[None], **options)
    wrong = interpretability(model, "first", images, by=blue[None], negatives=red[None], **options)
    assert (float(right.score), float(wrong.score)) == (1.0, 0.0)
    assert float(right.soft) == pytest.approx(1 - float(wrong.soft))
    assert (right.by, right.explanations) == ("patterns", 1)


def test_a_distance_that_knows_nothing_guesses(model: Model, images: list[Image]) -> None:
    def blind(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(first), len(second))

    def dice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.rand(len(first), len(second), generator=torch.Generator().manual_seed(3))

    assert float(interpretability(model, "first", images, [0], tasks=20, distance=blind).score) == 0.5
    assert 0.2 < float(interpretability(model, "first", images, [0], tasks=20, distance=dice).score) < 0.8


def test_the_default_distance_leaves_the_units_own_layer_out(model: Model, images: list[Image]) -> None:
    found = interpretability(model, "second", images, [0, 1], tasks=12)
    assert "second" not in found.distance.replace("features of", "").split(", ")
    assert (found.score > 0.9).all()
    again = interpretability(model, "second", images, [0, 1], tasks=12)
    assert torch.equal(found.score, again.score)


def test_drawn_patterns_explain_colour_units(model: Model, images: list[Image]) -> None:
    drawn = draw(model, "first:0-1", steps=64, seeds=2, negatives=True)
    assert drawn.negatives is not None
    found = interpretability(
        model, "first", images, [0, 1], by=drawn.every, negatives=drawn.negatives.every, tasks=12, distance=colour
    )
    assert (found.score > 0.9).all()
    assert found.explanations == 2


def test_units_of_the_toon_network_that_answer_to_a_part_are_explained_by_examples() -> None:
    """The truth is known there: hair of one colour is what the unit sees, by the masks of the parts."""
    model = ins.load("toon")
    drawn = [(name, toons.draw(name, seed)) for name in toons.CLASSES for seed in range(70_000, 70_012)]
    shown = [as_image(toon.pixels, name=f"{name}-{i}.png") for i, (name, toon) in enumerate(drawn)]
    maps = ins.activations(model, shown, ["stage4"]).values["stage4"]
    overlap = part_overlap(maps, [toon for _, toon in drawn])
    best = overlap.argsort(descending=True)[:8].tolist()
    found = interpretability(model, "stage4", shown, best, tasks=12)
    assert float(found.score.nanmedian()) > 0.65
    shuffled = interpretability(model, "stage4", shown, best, by=torch.rand(8, 2, 3, 96, 96), tasks=12)
    assert float(found.score.nanmean()) > float(shuffled.score.nanmean()) + 0.15


def part_overlap(maps: torch.Tensor, drawn: list) -> torch.Tensor:
    """Return for each unit the highest share of its activation that falls into one part, beyond that part's area."""
    names = sorted({name for toon in drawn for name in toon.masks})
    gains = []
    for name in names:
        masks = torch.stack(
            [
                torch.from_numpy(np.asarray(toon.masks.get(name, np.zeros((96, 96), bool)), dtype=np.float32))
                for toon in drawn
            ]
        )
        area = torch.nn.functional.adaptive_avg_pool2d(masks[:, None], maps.shape[2:])
        gains.append((maps * area).sum((0, 2, 3)) / maps.sum((0, 2, 3)).clamp(min=1e-6) - area.mean())
    return torch.stack(gains).amax(0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"units": [3]}, "first has units 0-2, not 3"),
        ({"units": []}, "not none at all"),
        ({"layer": "first:0-1", "units": [0]}, "name the units once"),
        ({"layer": "class:a"}, "name a layer, or some of its units"),
        ({"by": "patterns", "negatives": torch.rand(3, 3, 8, 8)}, "these belong to patterns that are given"),
        ({"tasks": 0}, "tasks=0 and explanations=4 must be at least 1"),
        ({"tasks": 40}, "40 tasks and 4 examples a side need 88 images, but 60 could be read"),
        ({"by": "guess"}, "by='guess': choose examples or patterns"),
        ({"by": torch.rand(2, 3, 8, 8)}, r"patterns are \(2, 3, 8, 8\); give \(3, 3, H, W\)"),
        ({"by": torch.rand(3, 3, 8, 8) * 3}, "give 0 to 1"),
        ({"distance": lambda a, b: a}, "must return finite ones of the shape"),
    ],
)
def test_errors(options: dict, why: str, model: Model, images: list[Image]) -> None:
    with pytest.raises(InnersightError, match=why):
        interpretability(model, **{"layer": "first", "images": images, "tasks": 12, **options})


def test_unknown_layers_are_named() -> None:
    with pytest.raises(InnersightError, match="did you mean"):
        interpretability(tiny("in-place"), "convv", [image(1)])
