"""All metrics of trust against their definitions, written slowly, on maps and logits of any size."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from torch import Tensor
from torch.nn import functional as F

from innersight.image import Image
from innersight.trust.baselines import baselines
from innersight.trust.case import Case
from innersight.trust.conditions import LABELS, NOISE, WEIGHTS
from innersight.trust.faithfulness import curves
from innersight.trust.imputers.inpaint import imputed
from innersight.trust.metrics import metrics

SIDE, STEPS, MAPS, SEED = 24, 6, 4, 5
SCALES = [1e-30, 1e-8, 1.0, 1e8, 1e30]
rng = np.random.default_rng(2)
WEIGHT = rng.normal(size=(SIDE, SIDE)) / SIDE
# One without equal values, one that is zero in large parts, one that is only negative, and the reverse of the truth.
RAW = [
    rng.normal(size=(SIDE, SIDE)),
    np.where(rng.random((6, 6)) < 0.5, rng.random((6, 6)), 0.0),
    -rng.random((4, 4)),
    -WEIGHT,
]
NEAR = [one + 0.1 * rng.normal(size=one.shape) for one in RAW]
REGION = np.zeros((SIDE, SIDE), dtype=bool)
REGION[3:14, 8:20] = True


def logit_of(kept: Any, size: float = 1.0) -> Any:
    """Return the logit of a network that sees masks (n, H, W)."""
    return size * np.tanh((np.asarray(kept) * WEIGHT).sum((1, 2)))


def case(size: float) -> Case:
    """Return a case whose maps have any size; the baselines' keep theirs."""
    model = tiny("in-place")
    small, others = [torch.from_numpy(one * size) for one in RAW], [torch.from_numpy(one * size) for one in NEAR]
    one: Image = image(1)
    x = one.tensor(model.input)
    found = Case(
        model, one, x, 1, small, dict.fromkeys((WEIGHTS, LABELS, NOISE), others), torch.from_numpy(REGION), STEPS,
        np.random.default_rng(SEED), SEED,
    )  # fmt: skip
    assert found.orders.shape == (MAPS + len(list(baselines)), SIDE, SIDE)
    return found


def asked(generator: Any, size: float) -> Any:
    """Answer a generator of masks by the network."""
    values = None
    while True:
        try:
            kept = generator.send(values)
        except StopIteration as stop:
            return stop.value
        logits = torch.from_numpy(logit_of(kept.numpy(), size))
        values = torch.stack([torch.from_numpy(logit_of(kept.numpy())).sigmoid(), logits], 1).float()


def measured(name: str, maps: float, logits: float = 1.0) -> list[float]:
    one = case(maps)
    one.curves = asked(curves(one.orders, STEPS), logits)
    found = asked(metrics[name](one), logits) if metrics.entry(name).imputer else metrics[name](one)
    return found[:MAPS].tolist()


def wide(map_: Any) -> Any:
    """Return a map at the input's size, bilinearly, by numpy."""
    at = (np.arange(SIDE) + 0.5) * len(map_) / SIDE - 0.5
    at = at.clip(0, len(map_) - 1)
    low = np.minimum(at.astype(int), len(map_) - 2)
    part = at - low
    rows = map_[low] * (1 - part)[:, None] + map_[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def curve(map_: Any, steps: int, *, inserted: bool, seed: int = 0) -> list[float]:
    """Return probabilities with the highest places gone, or there; of equal ones in an order drawn at random."""
    values = wide(map_).ravel()
    drawn = np.random.default_rng(seed).permutation(values.size)
    order = drawn[np.argsort(-values[drawn], kind="stable")]
    found = []
    for step in range(steps + 1):
        kept = np.full(values.size, not inserted)
        kept[order[: round(step * values.size / steps)]] = inserted
        found.append(float(1 / (1 + np.exp(-logit_of(kept.reshape(1, SIDE, SIDE))[0]))))
    return found


def area(values: list[float]) -> float:
    return sum((a + b) / 2 for a, b in itertools.pairwise(values)) / (len(values) - 1)


def deletion(map_: Any, _near: Any) -> float:
    return area(curve(map_, STEPS, inserted=False))


def insertion(map_: Any, _near: Any) -> float:
    return area(curve(map_, STEPS, inserted=True))


def faithfulness(map_: Any, near: Any) -> float:
    return insertion(map_, near) - deletion(map_, near)


def shuffled_score(_map: Any, near: Any) -> float:
    return faithfulness(near, near)


def road(map_: Any, _near: Any) -> float:
    there, gone = (curve(map_, 5, inserted=inserted) for inserted in (True, False))
    return sum(a - b for a, b in zip(there[1:-1], gone[1:-1], strict=True)) / 4 / 2


def pointing(map_: Any, _near: Any) -> float:
    values = wide(map_)
    top = values >= values.max() - 1e-12 * np.abs(values).max()
    return float(REGION[top].mean())


def mass(map_: Any, _near: Any) -> float:
    positive = np.maximum(wide(map_), 0)
    return float(positive[REGION].sum() / positive.sum()) if positive.any() else float(REGION.mean())


def complexity(map_: Any, _near: Any) -> float:
    share = np.abs(wide(map_)) / np.abs(wide(map_)).sum()
    return -sum(p * math.log(p) for p in share.ravel() if p > 0) / math.log(share.size)


def infidelity(map_: Any, _near: Any) -> float:
    """Return the share of the variance that the map's sums leave, both beyond the size of what is removed."""
    stream = torch.Generator().manual_seed(SEED)
    grids = (torch.rand((48, 1, 7, 7), generator=stream) < 0.5).float()
    kept = F.interpolate(grids, (SIDE, SIDE), mode="nearest")[:, 0].numpy() > 0
    size = np.stack([np.ones(48), (~kept).sum((1, 2))], 1)

    def beyond(values: Any) -> Any:
        return values - size @ np.linalg.lstsq(size, values, rcond=None)[0]

    lost, predicted = beyond(-logit_of(kept)), beyond(((~kept) * wide(map_)).sum((1, 2)))
    scale = max(0.0, (predicted @ lost) / (predicted @ predicted))
    return float(((lost - scale * predicted) ** 2).sum() / (lost**2).sum())


def sensitivity(map_: Any, near: Any) -> float:
    return float(np.sqrt(((near - map_) ** 2).sum() / (map_**2).sum()))


def on_grid(map_: Any) -> Any:
    """Return a map on 32 x 32 places: bilinearly, all of them here are coarser."""
    at = ((np.arange(32) + 0.5) * len(map_) / 32 - 0.5).clip(0, len(map_) - 1)
    low = np.minimum(at.astype(int), len(map_) - 2)
    part = at - low
    rows = map_[low] * (1 - part)[:, None] + map_[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def rank_correlation(one: Any, other: Any) -> float:
    def ranks(values: Any) -> Any:
        values = np.round(values.ravel() / np.abs(values).max(), 7)
        return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])

    return float(np.corrcoef(ranks(on_grid(one)), ranks(on_grid(other)))[0, 1])


def like(map_: Any, near: Any) -> float:
    return max(rank_correlation(map_, near), rank_correlation(np.abs(map_), np.abs(near)))


DEFINITIONS: dict[str, tuple[Callable[[Any, Any], float], float]] = {
    "complexity": (complexity, 1e-5),
    "deletion": (deletion, 0.02),
    "faithfulness": (faithfulness, 0.02),
    "infidelity": (infidelity, 1e-4),
    "insertion": (insertion, 0.02),
    "label-randomization": (like, 1e-3),
    "weight-randomization": (like, 1e-3),
    "mass": (mass, 1e-5),
    "pointing": (pointing, 1e-6),
    "road": (road, 0.02),
    "sensitivity": (sensitivity, 1e-5),
    "shuffled-score": (shuffled_score, 0.02),
}
"""Each metric, and by how much it may be off: equal places of the second map go in another order here."""


def test_every_metric_has_a_definition() -> None:
    assert set(DEFINITIONS) == set(metrics)


@pytest.mark.parametrize("size", SCALES)
@pytest.mark.parametrize("name", list(metrics))
def test_a_metric_is_its_definition_for_maps_of_any_size(name: str, size: float) -> None:
    slow, within = DEFINITIONS[name]
    found = measured(name, size)
    for value, one, near in zip(found, RAW, NEAR, strict=True):
        assert value == pytest.approx(slow(one, near), abs=within), name
    if within == 0.02:
        assert found[0] == pytest.approx(slow(RAW[0], NEAR[0]), abs=1e-5)


@pytest.mark.parametrize("size", SCALES)
@pytest.mark.parametrize("name", [entry.name for entry in metrics.entries() if entry.imputer])
def test_what_is_measured_by_logits_does_not_depend_on_their_size(name: str, size: float) -> None:
    assert measured(name, 1.0, size) == pytest.approx(measured(name, 1.0), abs=1e-5)


@pytest.mark.parametrize("name", [entry.name for entry in metrics.entries() if entry.chance])
def test_chance_is_that_of_a_map_of_any_size(name: str) -> None:
    chance = metrics.entry(name).chance
    assert {chance(case(size)) for size in SCALES} == {chance(case(1.0))}


def test_what_is_equal_stays_equal() -> None:
    """A map that is the same nearly everywhere: its plateau has no order, whatever interpolation rounds to."""
    value = torch.full((7, 7), 0.1)
    value[3, 3] = 0.3
    one = case(1.0)
    found = Case(one.model, one.image, one.x, 1, [value], {}, None, STEPS, np.random.default_rng(0), SEED)
    plateau = found.wide[0, :4].flatten()
    assert len(plateau.unique()) == 1
    assert len(found.grid.view(32, 32)[:6].unique()) == 1
    ranks = found.orders[0, :4].flatten().double()
    assert abs(float(torch.corrcoef(torch.stack([ranks, torch.arange(len(ranks)).double()]))[0, 1])) < 0.3
    flat = Case(one.model, one.image, one.x, 1, [value * 0 + 0.1], {}, None, STEPS, np.random.default_rng(0), SEED)
    assert len(flat.grid.unique()) == 1


def test_the_reverse_of_the_truth_explains_nothing() -> None:
    assert measured("infidelity", 1.0)[3] == 1


@pytest.mark.parametrize("size", [1e-25, 1e-8, 1.0, 1e8, 1e25])
def test_inpainting_solves_its_equations_at_any_size(size: float) -> None:
    stream = torch.Generator().manual_seed(0)
    x = torch.rand((2, 12, 12), generator=stream)
    kept = torch.rand((1, 12, 12), generator=stream) < 0.4
    found = imputed(x * size, kept, rounds=60)[0].double() / size
    for channel in range(2):
        matrix, right = np.eye(144), x[channel].double().numpy().ravel().copy()
        for y, x_ in itertools.product(range(12), repeat=2):
            if not kept[0, y, x_]:
                row, right[y * 12 + x_] = matrix[y * 12 + x_], 0.0
                for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                    if (dy or dx) and 0 <= y + dy < 12 and 0 <= x_ + dx < 12:
                        row[(y + dy) * 12 + x_ + dx] = -(1 / 12 if dy and dx else 1 / 6)
                row[y * 12 + x_] = -row.sum() + 1
        assert np.allclose(found[channel].numpy().ravel(), np.linalg.solve(matrix, right), atol=1e-3)


def edges(pixels: Any) -> Any:
    grey = np.pad(pixels.mean(0), 1, mode="edge")
    return np.hypot(grey[1:-1, 2:] - grey[1:-1, :-2], grey[2:, 1:-1] - grey[:-2, 1:-1])


def centre(pixels: Any) -> Any:
    at = np.linspace(-2, 2, SIDE)
    return np.exp(-(at[:, None] ** 2 + at**2) / 2)


def random(pixels: Any) -> Any:
    return np.random.default_rng(0).random((SIDE, SIDE))


@pytest.mark.parametrize("name", list(baselines))
def test_baselines(name: str) -> None:
    pixels = torch.rand((3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    slow = {"edges": edges, "centre": centre, "random": random}[name]
    found: Tensor = baselines[name](pixels, np.random.default_rng(0))
    assert np.allclose(found, slow(pixels.double().numpy()), atol=1e-6)
