from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from trust_fixture import SIDE, asked_curves, corner_model

from innersight.heatmaps.masked import run_masked
from innersight.image import as_image
from innersight.trust.case import Case, Maps
from innersight.trust.column import describe_column
from innersight.trust.conditions import NOISE, conditions
from innersight.trust.judge import _measurable
from innersight.trust.metrics import REGIONS, metrics, primary
from innersight.trust.metrics.boxes import chance_mass, highest_inside, positive_inside
from innersight.trust.metrics.complexity import entropy
from innersight.trust.metrics.sensitivity import change

METHODS = 2


def case(own: Maps, others: dict[str, Maps] | None = None, region: Tensor | None = None) -> Case:
    """An image of noise; its maps are `own`."""
    x = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    image = as_image(np.zeros((SIDE, SIDE, 3), np.uint8))
    return Case(corner_model(), image, x, 0, own, others or {}, region, 4, np.random.default_rng(0))


def ask(name: str, one: Case) -> Tensor:
    """Run a metric that asks the network, with removed pixels black."""

    def run(inputs: Tensor, owners: Tensor) -> Tensor:
        del owners
        logits = one.model.net(inputs).detach()
        return torch.stack([logits.softmax(1), logits], 2)[:, one.target]

    (found,) = run_masked([metrics[name](one)], lambda _, kept: torch.where(kept[:, None], one.x, 0), run)
    return found


def truth(one: Case) -> Tensor:
    """What every pixel gives the logit of class 0."""
    weight = one.model.net.where.weight.detach()[0].view(SIDE, SIDE)
    return weight * one.x.mean(0)


def measurable(one: Case) -> list[str]:
    return [entry.name for entry in _measurable(one, True)]


def test_needs_name_conditions_that_exist_and_one_metric_ranks() -> None:
    assert {need for entry in metrics.entries() for need in entry.needs} <= {*conditions, REGIONS}
    assert {entry.control for entry in metrics.entries()} <= {*conditions, None}
    assert primary().better == "high"


def test_every_metric_is_documented() -> None:
    for name in metrics:
        assert describe_column(name).title
        assert len(describe_column(name).description) > 30
        assert describe_column(name).better in ("high", "low", "")


def test_infidelity_by_its_definition() -> None:
    first = case([torch.rand(SIDE, SIDE)])
    values = truth(first)
    one = case([values, 3 * values, torch.zeros(4, 4), torch.rand(SIDE, SIDE), -values, torch.full((3, 3), 2.0)])
    found = ask("infidelity", one)
    assert found[:2].tolist() == pytest.approx([0, 0], abs=1e-5)
    assert found[[2, 4, 5]].tolist() == pytest.approx([1, 1, 1], abs=1e-5)

    stream = torch.Generator().manual_seed(0)
    grid = torch.rand((48, 1, 7, 7), generator=stream) < 0.5
    lost, told, area = [], [], []
    for cells in grid[:, 0]:
        rows = [i * 7 // SIDE for i in range(SIDE)]
        gone = torch.tensor([[not bool(cells[a, b]) for b in rows] for a in rows])
        seen = torch.where(gone, 0, one.x)
        with torch.no_grad():
            lost.append(float((one.model.net(one.x[None]) - one.model.net(seen[None]))[0, 0]))
        told.append(float(one.wide[3][gone].sum()))
        area.append(float(gone.sum()))
    known = np.stack([np.ones(48), area], 1)
    first, second = (np.array(v) - known @ np.linalg.lstsq(known, np.array(v), rcond=None)[0] for v in (told, lost))
    r = float(np.corrcoef(first, second)[0, 1])
    assert float(found[3]) == pytest.approx(1 - max(r, 0) ** 2, abs=1e-4)


def test_road_is_the_mean_gap_at_five_shares() -> None:
    one = case([torch.rand(SIDE, SIDE), torch.rand(4, 4)])
    found = ask("road", one)
    again = asked_curves(one.model, one.x, torch.zeros_like(one.x), 0, one.orders, 5)
    slow = [
        sum(float(again.insertion[m, k] - again.deletion[m, k]) for k in (1, 2, 3, 4)) / 8 for m in range(len(found))
    ]
    assert found.tolist() == pytest.approx(slow, abs=1e-6)
    assert metrics.entry("road").imputer == "inpaint"


def test_maps_with_shuffled_weights_are_scored_like_the_maps_themselves() -> None:
    values = [torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)]
    one = case(values, {"shuffled weights": values})
    again = asked_curves(one.model, one.x, torch.zeros_like(one.x), 0, one.orders, 4)
    assert ask("shuffled-score", one).tolist() == pytest.approx(again.scores[:METHODS].tolist(), abs=1e-6)


def test_likeness_to_shuffled_networks() -> None:
    values = [torch.rand(SIDE, SIDE), torch.rand(4, 4), torch.ones(3, 3)]
    opposite = [-values[0], values[1] ** 3, torch.rand(3, 3)]
    one = case(values, {"shuffled weights": opposite, "shuffled labels": values})
    found = metrics["weight-randomization"](one)
    assert found[0] == pytest.approx(1)  # the same places with the other sign
    assert found[1] > 0.9
    assert found[2].isnan()
    assert metrics["label-randomization"](one)[:2].tolist() == pytest.approx([1, 1])
    assert "label-randomization" not in measurable(case(values))
    assert "label-randomization" in measurable(one)


def test_sensitivity_is_the_share_that_changed() -> None:
    values = [torch.rand(4, 4), torch.zeros(4, 4)]
    found = metrics["sensitivity"](case(values, {NOISE: [values[0] * 0.5, values[1]], "shuffled weights": values}))
    assert found[0] == pytest.approx(0.5)
    assert found[1].isnan()
    assert change(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 5.0]])) == pytest.approx(1 / 5)


def test_complexity_goes_from_one_place_to_everywhere() -> None:
    point = torch.zeros(8, 8)
    point[2, 3] = -5
    half = torch.zeros(8, 8)
    half[:4] = 2
    found = entropy(torch.stack([point, half, torch.ones(8, 8), torch.zeros(8, 8)])).tolist()
    assert found == pytest.approx([0, math.log(32) / math.log(64), 1, 1], abs=1e-6)


def test_pointing_and_mass_in_a_box() -> None:
    region = torch.zeros(4, 4, dtype=torch.bool)
    region[0, :2] = True
    inside, outside, spread, empty, negative = torch.zeros(5, 4, 4)
    inside[0, 1] = 2
    outside[3, 3], outside[0, 0] = 3, 1
    spread[0] = 1
    negative[:] = -1
    values = torch.stack([inside, outside, spread, empty, negative])
    assert highest_inside(values, region).tolist() == [1, 0, 0.5, 0.125, 0.125]
    assert positive_inside(values, region).tolist() == [1, 0.25, 0.5, 0.125, 0.125]
    assert not {"mass", "pointing"} & set(measurable(case([inside])))
    assert math.isnan(chance_mass(case([inside])))
    quarter = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    quarter[: SIDE // 2, : SIDE // 2] = True
    assert chance_mass(case([inside], region=quarter)) == 0.25
    assert {"mass", "pointing"} <= set(measurable(case([inside], region=quarter)))
    assert metrics["mass"](case([inside], region=quarter))[0] == pytest.approx(1, abs=0.2)
