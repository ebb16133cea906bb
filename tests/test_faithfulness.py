from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from trust_fixture import SIDE, asked_curves, corner_model

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import load
from innersight.trust.baselines import baselines
from innersight.trust.faithfulness import check_steps, ranking


def test_curves_match_a_slow_loop() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).double()
    model = load(net, input=InputSpec(9, 7, fit="squash"))
    x, empty = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    maps = [torch.randn(9, 7), torch.randn(3, 2)]
    ranks = torch.stack([ranking(m, (9, 7), np.random.default_rng(0))[0] for m in maps])
    found = asked_curves(model, x, empty, 2, ranks, 5)

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


def test_turning_a_map_round_turns_the_score() -> None:
    x, empty = torch.rand(2, 3, SIDE, SIDE)
    values = torch.randn(SIDE, SIDE)
    ranks = torch.stack([ranking(v, (SIDE, SIDE), np.random.default_rng(0))[0] for v in (values, -values)])
    there, back = asked_curves(corner_model(), x, empty, 0, ranks, 8).scores
    assert float(there) == pytest.approx(-float(back), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, SIDE * SIDE])
def test_curves_end_where_they_should(steps: int) -> None:
    x, empty = torch.rand(2, 3, SIDE, SIDE)
    ranks = torch.randperm(SIDE * SIDE).view(1, SIDE, SIDE)
    model = corner_model()
    found = asked_curves(model, x, empty, 0, ranks, steps)
    whole, nothing = model.net(torch.stack([x, empty])).softmax(1)[:, 0].tolist()
    assert found.deletion.shape == found.insertion.shape == (1, steps + 1)
    assert found.deletion[0, [0, -1]].tolist() == pytest.approx([whole, nothing])
    assert found.insertion[0, [0, -1]].tolist() == pytest.approx([nothing, whole])


@pytest.mark.parametrize("steps", [0, -1, 17])
def test_steps_out_of_range(steps: int) -> None:
    with pytest.raises(InnersightError, match=f"steps is {steps}; give 1 to 16"):
        check_steps(steps, 16)


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


def test_random_scores_zero_on_average() -> None:
    x, empty = torch.rand(3, SIDE, SIDE) * 0.5 + 0.5, torch.full((3, SIDE, SIDE), 0.3)
    rng = np.random.default_rng(0)
    ranks = torch.stack([ranking(baselines["random"](x, rng), (SIDE, SIDE), rng)[0] for _ in range(1000)])
    scores = asked_curves(corner_model(), x, empty, 0, ranks, 4).scores
    assert abs(float(scores.mean())) < 3 * float(scores.std()) / 1000**0.5
