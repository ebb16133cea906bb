"""A subset on which the network fails is found, described and confirmed; where it fails nowhere nothing is stated."""

import importlib
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import innersight as ins
from innersight.audit.measures import COLUMNS, measure
from innersight.audit.reading import read_layers
from innersight.audit.result import Audit
from innersight.audit.subgroups import Condition, _groups, divided, suggestions
from innersight.input_spec import InputSpec
from innersight.toons import draw

EACH, WEAK = 48, 12


@cache
def pixels(name: str) -> tuple[np.ndarray, ...]:
    return tuple(draw(name, seed).pixels for seed in range(400, 400 + EACH))


def images(plant: Any = None) -> list[tuple[np.ndarray, str]]:
    """Images of three classes, the first of one changed."""
    found = [(image, name) for name in ("ambra", "bosk", "corvo") for image in pixels(name)]
    for i in range(WEAK if plant else 0):
        found[EACH + i] = (plant(found[EACH + i][0]), "bosk")
    return found


def audited(given: Any) -> Audit:
    return ins.audit(ins.load("toon"), given, checks=["slice"])


PLANTS = {
    "dark": lambda image: (image * 0.15).astype(np.uint8),
    "pale": lambda image: np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8),
}


@pytest.mark.parametrize("word", PLANTS)
def test_a_weak_subset_is_found_described_and_confirmed(word: str) -> None:
    found = audited(images(PLANTS[word]))
    [finding] = found.findings
    assert finding.label == "bosk"
    assert word in finding.sentence
    weak = {f"image {EACH + i}" for i in range(WEAK)}
    assert len(weak & set(finding.images)) >= 0.7 * max(WEAK, finding.images_total)
    assert finding.effect is not None
    assert finding.effect.interval is not None
    low, high = finding.effect.interval
    assert low <= finding.effect.value <= high < 0.8
    assert finding.effect.control is not None
    assert finding.effect.control > 0.9
    assert finding.effect.p is not None
    assert finding.effect.p < 0.05
    # Counted on the half that did not suggest it alone: the same in every run.
    assert audited(images(PLANTS[word])).to_json() == found.to_json()


def test_where_the_network_is_equally_good_nothing_is_stated() -> None:
    found = audited(images())
    assert found.findings == ()
    assert found.clean


@pytest.mark.parametrize("seed", range(3))
def test_errors_at_random_confirm_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The search always finds a subset in which they are more frequent, on the half that suggests it.
    right = np.random.default_rng(seed).random(3 * EACH) > 0.3
    module = importlib.import_module("innersight.audit.checks.slice")
    monkeypatch.setattr(module, "_right", lambda _: right)
    found = audited(images())
    assert found.findings == ()
    [checked] = [one for one in found.checked if one.check == "slice"]
    assert "0 subsets" not in checked.sentence


def test_too_few_images_of_every_class() -> None:
    given = [(image, name) for name in ("ambra", "bosk") for image in pixels(name)[:8]]
    [checked] = [one for one in audited(given).checked if one.check == "slice"]
    assert not checked.done
    assert "20 images" in checked.sentence


def test_classes_with_few_images_are_named() -> None:
    given = [*[(image, "ambra") for image in pixels("ambra")[:24]], *[(image, "bosk") for image in pixels("bosk")[:5]]]
    [checked] = [one for one in audited(given).checked if one.check == "slice"]
    assert checked.done
    assert "bosk" in checked.limits


def test_the_condition_with_the_most_improbable_errors_is_suggested_and_none_within_it() -> None:
    rng = np.random.default_rng(0)
    rare, wrong = np.zeros(200, bool), np.zeros(200, bool)
    rare[:20], wrong[:18] = True, True
    every = [Condition("rare", rare, "property")]
    every += [Condition(f"random {i}", rng.random(200) < 0.1, "property") for i in range(60)]
    wider = rare.copy()
    wider[20:40] = True
    every.append(Condition("wider", wider, "property"))
    found = suggestions(every, wrong, np.ones(200, bool), 3)
    assert [one.condition.text for one in found] == ["rare"]
    assert not suggestions(every, np.zeros(200, bool), np.ones(200, bool), 3)


def test_no_layer_that_decides_describes_a_subset() -> None:
    """Images that look like another class are missed: true of every network."""
    assert read_layers(ins.load("toon"))[1] == "stage2"
    nets = [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU(), nn.Linear(6, 3)),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
    ]
    for net in nets:
        assert len(read_layers(ins.load(net.eval(), input=InputSpec(8, 8)))) < 2


def test_of_nearly_equal_conditions_the_one_with_the_largest_share_of_errors_is_suggested() -> None:
    narrow, wide, wrong = (np.zeros(400, bool) for _ in range(3))
    # Wide holds two errors more, and eight images that are right: a little more improbable, but described less well.
    narrow[:20], wide[:30] = True, True
    wrong[[*range(20), 20, 21]] = True
    wrong[200:208] = True
    both = [Condition("wide", wide, "property"), Condition("narrow", narrow, "property")]
    [first, *_] = suggestions(both, wrong, np.ones(400, bool), 1)
    assert first.condition.text == "narrow"
    chances = [stats.hypergeom.sf((one.holds & wrong).sum() - 1, 400, 30, one.holds.sum()) for one in both]
    assert first.p == pytest.approx(chances[1])


def test_images_that_look_alike_are_on_both_sides() -> None:
    """A cluster of twelve among a hundred: chance would put nine or more of them on one side in one run of seven."""
    rng = np.random.default_rng(1)
    for seed in range(12):
        features = rng.normal(size=(100, 6))
        alike = rng.choice(100, 12, replace=False)
        features[alike] += 8
        given = torch.from_numpy(features).float(), torch.zeros(100, dtype=torch.int64)
        half = torch.zeros(100, dtype=torch.bool)
        sides = divided(*given, list(range(100)), half, np.random.default_rng(seed))
        assert 5 <= sides[alike].sum() <= 7
        assert 45 <= sides.sum() <= 55
        # Copies follow the first.
        leaders = list(range(100))
        leaders[99] = leaders[98] = 0
        copies = divided(*given, leaders, half, np.random.default_rng(seed))
        assert len({bool(copies[i]) for i in (0, 98, 99)}) == 1


def test_images_that_lie_on_their_side_have_level_lines_instead_of_upright_ones() -> None:
    x = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    x[:2] = x[:2, :, :1]
    column = COLUMNS.index("lines")
    upright, turned = (measure(one, torch.ones(4, 3))[:, column] for one in (x, x.transpose(2, 3)))
    assert (upright[:2] < -5).all()
    torch.testing.assert_close(turned, -upright, rtol=1e-4, atol=1e-4)


def test_groups_that_only_the_network_sees_are_conditions() -> None:
    rng = np.random.default_rng(2)
    middle = rng.normal(size=(60, 5)).astype(np.float32)
    middle[10:18, 3] += 40
    middle[10:18, 1] -= 20
    found = list(_groups(torch.from_numpy(middle), "stage2", np.ones(60, bool), 0))
    [own] = [one for one in found if np.flatnonzero(one.holds).tolist() == list(range(10, 18))]
    assert own.kind == "group"
    assert "alike to stage2 (stage2:3 strong" in own.text
    # Of very many images groups of them are the leaves of the tree.
    many = np.concatenate([middle + rng.normal(size=middle.shape) * 0.01 for _ in range(50)])
    wanted = np.tile((np.arange(60) >= 10) & (np.arange(60) < 18), 50)
    assert any(
        (one.holds == wanted).all()
        for one in _groups(torch.from_numpy(many).float(), "stage2", np.ones(len(many), bool), 0)
    )
