from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from innersight import tap, toons
from innersight.errors import InnersightError
from innersight.heatmaps import explain, request
from innersight.heatmaps.request import Request, methods
from innersight.image import PictureError, as_picture
from innersight.model import InputSpec, Model
from innersight.sources import load
from innersight.statistics import bootstrap, fewest, holm, sign_flip, spearman
from innersight.trust import part_agreement, part_effects, part_sums, trust
from innersight.trust.baselines import baselines
from innersight.trust.faithfulness import curves, emptier, ranking

SIDE = 16
SPEC = InputSpec(SIDE, SIDE, fit="squash")


class Corner(nn.Module):
    """Class 0 is the brightness of the first quarter of both sides, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.grey.weight, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:
        corner = self.grey(x)[:, :, : SIDE // 4, : SIDE // 4].mean((1, 2, 3))
        return torch.stack([10 * (corner - 0.6), torch.zeros_like(corner)], 1)


class Colour(nn.Module):
    """Every logit is the mean over the picture of one colour direction."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(3, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.places(x).mean((2, 3))


@pytest.fixture
def corner() -> Model:
    return load(Corner(), input=SPEC)


@pytest.fixture
def painter() -> Model:
    torch.manual_seed(0)
    model = load(Colour(len(toons.CLASSES)), input=InputSpec(48, 48, fit="squash"))
    return replace(model, labels=toons.CLASSES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures with a flat bright corner and noise elsewhere."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        pixels = rng.integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[: SIDE // 4, : SIDE // 4] = 220 + i
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:02}.png")
    return tmp_path / "pictures"


def add(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[[Request], Tensor]) -> None:
    """Register a heatmap method for one test."""
    methods["gradcam"]
    for table, value in ((methods._entries, function), (request._READS, "passes"), (request._UNITS, "TARGET")):
        monkeypatch.setitem(table, name, value)


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch) -> str:
    """A heatmap method that knows nothing."""
    rng = torch.Generator().manual_seed(7)
    add(monkeypatch, "guess", lambda asked: torch.rand(asked.x[:, 0].shape, generator=rng))
    return "guess"


def test_curves_match_a_slow_loop() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).double()
    model = load(net, input=InputSpec(9, 7, fit="squash"))
    x, empty = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    maps = [torch.randn(9, 7), torch.randn(3, 2)]
    ranks = torch.stack([ranking(m, (9, 7), np.random.default_rng(0))[0] for m in maps])
    with tap.untouched(model):
        found = curves(model, x, empty, 2, ranks, steps=5)

    for m in range(2):
        places = sorted((int(ranks[m, i, j]), i, j) for i in range(9) for j in range(7))
        for start, other, curve in ((x, empty, found.deletion[m]), (empty, x, found.insertion[m])):
            slow = []
            for step in range(6):
                changed = start.clone()
                for _, i, j in places[: round(step * 63 / 5)]:
                    changed[:, i, j] = other[:, i, j]
                slow.append(float(net(changed[None]).softmax(1)[0, 2].detach()))
            assert curve.tolist() == pytest.approx(slow, abs=1e-6)
            area = sum((a + b) / 2 / 5 for a, b in itertools.pairwise(slow))
            assert float(torch.trapezoid(curve, dx=1 / 5)) == pytest.approx(area, abs=1e-6)
    assert found.scores[0] == pytest.approx(float((found.insertion[0] - found.deletion[0])[1:-1].sum() / 5), abs=1e-6)


def test_turning_a_map_round_turns_the_score(corner: Model) -> None:
    x, empty = torch.rand(2, 3, SIDE, SIDE)
    values = torch.randn(SIDE, SIDE)
    ranks = torch.stack([ranking(v, (SIDE, SIDE), np.random.default_rng(0))[0] for v in (values, -values)])
    with tap.untouched(corner):
        there, back = curves(corner, x, empty, 0, ranks, steps=8).scores
    assert float(there) == pytest.approx(-float(back), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, SIDE * SIDE])
def test_curves_end_where_they_should(corner: Model, steps: int) -> None:
    x, empty = torch.rand(2, 3, SIDE, SIDE)
    ranks = torch.randperm(SIDE * SIDE).view(1, SIDE, SIDE)
    with tap.untouched(corner):
        found = curves(corner, x, empty, 0, ranks, steps=steps)
    whole, nothing = corner.net(torch.stack([x, empty])).softmax(1)[:, 0].tolist()
    assert found.deletion.shape == found.insertion.shape == (1, steps + 1)
    assert found.deletion[0, [0, -1]].tolist() == pytest.approx([whole, nothing])
    assert found.insertion[0, [0, -1]].tolist() == pytest.approx([nothing, whole])


def test_steps_out_of_range(corner: Model) -> None:
    x = torch.rand(3, SIDE, SIDE)
    with pytest.raises(InnersightError, match="steps is 0"):
        curves(corner, x, x, 0, torch.zeros(1, SIDE, SIDE, dtype=torch.long), steps=0)


def test_ranking_puts_the_highest_first_and_keeps_the_sign() -> None:
    ranks, says = ranking(torch.tensor([[-5.0, 2.0], [0.0, 1.0]]), (2, 2), np.random.default_rng(0))
    assert says
    assert ranks.tolist() == [[3, 0], [2, 1]]


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan"), float("inf")])
def test_a_map_that_says_nothing_ranks_at_random(value: float) -> None:
    ranks, says = ranking(torch.full((3, 3), value), (6, 6), np.random.default_rng(0))
    again, _ = ranking(torch.full((3, 3), value), (6, 6), np.random.default_rng(1))
    assert not says
    assert sorted(ranks.flatten().tolist()) == list(range(36))
    assert not torch.equal(ranks, again)


def test_equal_values_rank_at_random_among_themselves() -> None:
    values = torch.zeros(4, 4)
    values[3, 3] = 1
    ranks, says = ranking(values, (4, 4), np.random.default_rng(0))
    assert says
    assert ranks[3, 3] == 0
    assert ranks.flatten()[:-1].tolist() != list(range(1, 16))


def test_blur_and_mean() -> None:
    x = torch.rand(1, 3, 48, 32, dtype=torch.float64)
    blurred = emptier("blur")(x)
    for channel, truth in zip(blurred[0], x[0], strict=True):
        slow = scipy.ndimage.gaussian_filter(truth.numpy(), 2.0, mode="mirror", truncate=3.0)
        assert np.allclose(channel.numpy(), slow, atol=1e-12)
    assert emptier("blur")(torch.rand(1, 1, 1, 3)).shape == (1, 1, 1, 3)
    assert torch.allclose(emptier("mean")(x), x.mean((2, 3))[:, :, None, None].expand_as(x))
    with pytest.raises(InnersightError, match="blur"):
        emptier("blurr")


def test_every_baseline_map_is_finite_and_ranks() -> None:
    assert set(baselines) == {"random", "centre", "edges"}
    for name in baselines:
        values = baselines[name](torch.rand(3, 8, 10), np.random.default_rng(0))
        assert values.shape == (8, 10)
        assert ranking(values, (8, 10), np.random.default_rng(0))[1]
    centre = baselines["centre"](torch.rand(3, 9, 9), np.random.default_rng(0))
    assert centre.argmax() == 40
    step = torch.zeros(3, 6, 6)
    step[:, :, 3:] = 1
    assert baselines["edges"](step, np.random.default_rng(0)).amax(0).tolist() == [0, 0, 1, 1, 0, 0]


def test_random_scores_zero_on_average(corner: Model) -> None:
    x, empty = torch.rand(3, SIDE, SIDE) * 0.5 + 0.5, torch.full((3, SIDE, SIDE), 0.3)
    rng = np.random.default_rng(0)
    ranks = torch.stack([ranking(baselines["random"](x, rng), (SIDE, SIDE), rng)[0] for _ in range(1000)])
    with tap.untouched(corner):
        scores = curves(corner, x, empty, 0, ranks, steps=4).scores
    assert abs(float(scores.mean())) < 3 * float(scores.std()) / 1000**0.5


def test_a_perfect_map_beats_every_baseline(corner: Model, folder: Path) -> None:
    result = trust(corner, folder, ["saliency"], target=0, baseline="mean")
    assert result.verdict("saliency") == "saliency is better than centre, edges and random."
    saliency, *others = result.table()
    assert saliency.interval is not None
    assert saliency.interval[0] > max(row.interval[1] for row in others if row.interval)
    assert len(result.pictures) == 20
    assert "20 pictures, 16 steps" in result.note
    assert "mean colour" in result.note


def test_a_guess_is_not_distinguishable_from_random(corner: Model, folder: Path, guess: str) -> None:
    result = trust(corner, [folder], [guess], target=0, baseline="mean")
    assert "not distinguishable from random" in result.verdict(guess)
    (row,) = (row for row in result.versus() if row.baseline == "random")
    assert row.p > 0.05


def test_a_guess_is_seldom_called_better_or_worse_than_random(corner: Model, folder: Path, guess: str) -> None:
    pictures = [as_picture(path) for path in sorted(folder.iterdir())[:8]]
    scores = [trust(corner, pictures, [guess], target=0, steps=3, seed=seed).scores for seed in range(20)]
    found = sum(sign_flip((score[:, 0] - score[:, 3]).numpy()) <= 0.05 for score in scores)
    assert found <= 4


def test_too_few_pictures_give_no_verdict(corner: Model, folder: Path) -> None:
    pictures = sorted(folder.iterdir())[:3]
    result = trust(corner, pictures, ["saliency"], target=0)
    assert result.verdicts() == ("saliency: no verdict from 3 pictures; this table takes 7 or more.",)


def test_one_picture(corner: Model, folder: Path) -> None:
    result = trust(corner, folder / "00.png", ["saliency"], steps=2)
    assert all(row.interval is None for row in result.table())
    assert "1 picture," in result.note
    result.figure()


def test_empty_maps_are_counted_and_said(corner: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "mute", lambda asked: torch.zeros(len(asked.x), 4, 4))
    add(monkeypatch, "shy", lambda asked: asked.x[:, 0] * (torch.arange(len(asked.x)) > 2).view(-1, 1, 1))
    result = trust(corner, sorted(folder.iterdir())[:12], ["mute", "shy"], steps=4)
    assert result.verdict("mute") == "mute: no verdict, it was empty on all 12 pictures."
    assert result.verdict("shy").endswith(" 3 of its 12 maps were empty and count as a random order.")
    assert [row.empty for row in result.table()] == [12, 3, 0, 0, 0]


def test_broken_files_are_skipped_and_listed(corner: Model, folder: Path) -> None:
    (folder / "05.png").write_bytes(b"no picture")
    result = trust(corner, folder, ["saliency"], steps=2)
    assert len(result.pictures) == 19
    assert "05.png" in result.skipped[0]
    assert "1 file could not be read" in result.note
    with pytest.raises(PictureError, match="05"):
        trust(corner, folder / "05.png")


def test_wrong_names(corner: Model, folder: Path) -> None:
    with pytest.raises(InnersightError, match="blur"):
        trust(corner, folder, baseline="noise")
    with pytest.raises(InnersightError, match="always in the table"):
        trust(corner, folder, ["random"])
    with pytest.raises(InnersightError, match="gradcam"):
        trust(corner, folder, ["gradcan"])
    with pytest.raises(InnersightError, match="no heatmap method"):
        trust(corner, folder, [])
    with pytest.raises(InnersightError, match="was not tested"):
        trust(corner, folder / "00.png", ["saliency"], steps=1).verdict("gradcam")


def test_same_seed_same_result_and_nothing_is_left(corner: Model, folder: Path) -> None:
    corner.net.train()
    before = {name: value.clone() for name, value in corner.net.state_dict().items()}
    rng = torch.get_rng_state()
    first, again = (trust(corner, folder, ["gradcam"], steps=4, seed=3).scores for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(rng, torch.get_rng_state())
    assert corner.net.training
    assert all(p.requires_grad and p.grad is None for p in corner.net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in corner.net.state_dict().items())
    assert not any(module._forward_hooks for module in corner.net.modules())


def test_scores_do_not_depend_on_the_other_pictures(corner: Model, folder: Path) -> None:
    pictures = sorted(folder.iterdir())
    some, all_ = (trust(corner, p, ["gradcam"], steps=4).scores for p in (pictures[:2], pictures))
    assert torch.allclose(some, all_[:2], atol=1e-6)


def test_saved_result(corner: Model, folder: Path, tmp_path: Path) -> None:
    result = trust(corner, sorted(folder.iterdir())[:9], steps=3)
    document = json.loads(result.save(tmp_path / "trust.json").read_text())
    assert [row["name"] for row in document["table"]] == ["gradcam", "saliency", "centre", "edges", "random"]
    assert [row["kind"] for row in document["table"]] == ["method"] * 2 + ["baseline"] * 3
    assert len(document["versus"]) == 6
    assert len(document["pictures"]) == 9
    assert set(document["verdicts"]) == {"gradcam", "saliency"}
    assert result.save(tmp_path / "trust.png").stat().st_size > 1000
    assert result.save(tmp_path / "trust.safetensors").exists()
    assert result.deletion.shape == (9, 5, 4)
    assert result._repr_html_().startswith("<img")


def test_a_baseline_that_removes_little_is_said(corner: Model, folder: Path) -> None:
    mean, blur = (trust(corner, folder, ["saliency"], target=0, steps=1, baseline=b) for b in ("mean", "blur"))
    survives = {float(r.insertion[:, 0, 0].mean()) > float(r.insertion[:, 0, -1].mean()) / 2: r for r in (mean, blur)}
    assert survives.keys() == {True, False}
    assert "say little" in survives[True].note
    assert "say little" not in survives[False].note


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
    (entry,) = explain(painter, as_picture(np.array(toon.pixels)), "bosk", ["gradcam"]).entries
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


def test_bootstrap_against_scipy() -> None:
    values = np.random.default_rng(0).normal(1, 2, 30)
    truth = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap(values, resamples=20000) == pytest.approx(tuple(truth), abs=0.03)
    assert bootstrap([1.0]) is None
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5).map(lambda n: n / 4), min_size=2, max_size=7))
def test_sign_flip_is_exact_for_few(differences: list[float]) -> None:
    truth = scipy.stats.permutation_test(
        (np.array(differences), np.zeros(len(differences))),
        lambda a, b, axis: np.abs(np.sum(a - b, axis=axis)),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=np.inf,
    ).pvalue
    assert sign_flip(differences) == pytest.approx(truth)


def test_sums_equal_on_paper_are_equal() -> None:
    assert 0.1 + 0.2 - 0.3 != 0
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip([0.3, 0.1, 0.2]) == 0.25


def test_sign_flip_of_many_is_close_to_exact() -> None:
    differences = np.random.default_rng(4).normal(0.4, 1, 16)
    flips = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = (np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert sign_flip(differences) == pytest.approx(exact, abs=0.015)
    assert sign_flip(np.ones(40)) == 1 / 10000
    assert sign_flip(np.zeros(40)) == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_by_its_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = sorted(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        at_or_before = [min(1.0, (len(order) - i) * q) for i, q in enumerate(order) if q <= p]
        assert a >= p
        assert a == pytest.approx(max(at_or_before[: order.index(p) + 1]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=9))
def test_spearman_against_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    else:
        assert np.isnan(spearman(first, second))


@settings(deadline=None)
@given(st.integers(1, 200))
def test_fewest_pairs_is_the_first_number_that_can_decide(comparisons: int) -> None:
    count = fewest(comparisons)
    assert comparisons * 2 / 2**count <= 0.05 < comparisons * 2 / 2 ** (count - 1)
