from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from trust_fixture import Colour

from innersight import toons
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.image import as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load
from innersight.trust import part_agreement, part_effects, part_sums
from innersight.trust.ground_truth.mosaics import mosaics


@pytest.fixture
def painter() -> Model:
    torch.manual_seed(0)
    model = load(Colour(len(toons.CLASSES)), input=InputSpec(48, 48, fit="squash"))
    return replace(model, labels=toons.CLASSES)


def test_part_effects_are_the_logits_of_the_redrawn_scene(painter: Model) -> None:
    toon = toons.draw("ambra", 3, size=48)
    effects = part_effects(painter, toon)
    assert tuple(effects) == toons.PARTS

    def logit(pixels: np.ndarray) -> float:
        x = torch.from_numpy(pixels.astype(np.float64) / 255).permute(2, 0, 1)
        weight = painter.net.places.weight[painter.labels.index("ambra"), :, 0, 0].detach().double()
        return float((x.mean((1, 2)) * weight).sum())

    for part, effect in effects.items():
        assert effect == pytest.approx(logit(toon.pixels) - logit(toon.without(part).pixels), abs=1e-5)
    assert part_effects(painter, toon, "bosk") != effects
    with pytest.raises(InnersightError, match="no class"):
        part_effects(painter, toon, "nobody")


def test_part_sums_share_out_the_map(painter: Model) -> None:
    toon = toons.draw("bosk", 1, size=48)
    flat = part_sums(painter, torch.full((6, 6), 2.0), toon)
    for part, value in flat.items():
        assert value == pytest.approx(72 * toon.mask(part).mean())
    fine = torch.randn(48, 48)
    for part, value in part_sums(painter, fine, toon).items():
        assert value == pytest.approx(float(fine[torch.from_numpy(toon.mask(part))].sum()), abs=1e-4)
    (entry,) = explain(painter, as_image(np.array(toon.pixels)), "bosk", ["gradcam"]).entries
    assert sum(part_sums(painter, entry, toon).values()) == pytest.approx(entry.logit, rel=1e-3)


def test_part_sums_follow_the_crop(painter: Model) -> None:
    toon = toons.draw("bosk", 1, size=96)
    cropped = replace(painter, input=InputSpec(48, 48, crop=0.5))
    sums = part_sums(cropped, torch.ones(48, 48), toon)
    for i, part in enumerate(toons.PARTS):
        assert sums[part] == pytest.approx((toon.parts[24:72, 24:72] == i).mean() * 48 * 48, abs=48)


def test_part_agreement_ranks_like_scipy(painter: Model) -> None:
    drawn = [toons.draw("ambra", seed, size=48) for seed in range(4)]
    result = part_agreement(painter, drawn, ["gradcam"])
    assert list(result) == ["gradcam", "area"]
    area = [
        scipy.stats.spearmanr(list(part_effects(painter, t).values()), [t.mask(p).sum() for p in toons.PARTS]).statistic
        for t in drawn
    ]
    assert result["area"].values == pytest.approx(area)
    assert result["area"].mean == pytest.approx(float(np.mean(area)))
    with pytest.raises(InnersightError, match="without hair"):
        part_agreement(painter, [drawn[0].without("hair")])
    with pytest.raises(InnersightError, match="needs toons"):
        part_agreement(painter, [])


def sure(classes: list[int], count: int = 5) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), count).float() * 0.9 + 0.02


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 13)])
def test_mosaics_of_four_classes(height: int, width: int) -> None:
    classes = [0, 0, 1, 2, 3, 4]
    x = torch.tensor(classes).view(-1, 1, 1, 1).expand(-1, 3, height, width).float()
    made = mosaics(x, sure(classes), 30, 0)
    assert made is not None
    assert made.x.shape == (6, 3, height, width)
    assert sorted(made.targets.tolist()) == classes
    for image, target, region in zip(made.x, made.targets, made.regions, strict=True):
        assert torch.equal((image[0] - target).abs() < 1e-3, region)
        assert len(image[0].round().unique()) == 4
    fewer = mosaics(x, sure(classes), 4, 0)
    assert fewer is not None
    assert len(fewer.x) == 4
    again = mosaics(x, sure(classes), 30, 0)
    assert again is not None
    assert torch.equal(again.x, made.x)


def test_mosaics_of_two_classes_lie_in_the_diagonals() -> None:
    classes = [0, 1, 1]
    x = torch.tensor(classes).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).float()
    made = mosaics(x, sure(classes), 10, 0)
    assert made is not None
    assert made.regions.float().mean((1, 2)).tolist() == [0.5] * 3
    assert all(bool(region[0, 0] == region[-1, -1]) for region in made.regions)
    assert torch.equal((made.x[:, 0] - made.targets.view(-1, 1, 1)).abs() < 1e-3, made.regions)


def test_no_mosaics_of_one_class_or_of_guesses() -> None:
    x = torch.rand(4, 3, 8, 8)
    assert mosaics(x, sure([2, 2, 2, 2]), 5, 0) is None
    assert mosaics(x, torch.full((4, 5), 0.2), 5, 0) is None
    assert mosaics(x[..., :3, :3], sure([0, 1, 2, 3]), 5, 0) is None
