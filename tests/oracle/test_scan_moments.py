"""Correlations of units and mean maps of classes against slow, obvious ones in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from innersight.plots.scan_relations import arranged
from innersight.scan.layer_batch import Batch
from innersight.scan.statistics import LayerSettings
from innersight.scan.statistics.class_maps import SIDE
from innersight.scan.statistics.correlation import WAITING
from innersight.scan.tally import LayerStatistics, Tally

CPU = torch.device("cpu")
UNITS, OTHERS, CLASSES = 6, 4, 3


def layers_of(count: int, grid: tuple[int, int] = (3, 4)) -> tuple[Tensor, Tensor]:
    """Maps of two layers far from zero whose units share something, with one unit that never changes."""
    generator = torch.Generator().manual_seed(count)
    shared = torch.randn(count, 1, 1, 1, generator=generator)
    first = 1000 + shared + torch.randn(count, OTHERS, *grid, generator=generator)
    second = -300 + shared * torch.linspace(-2, 2, UNITS)[:, None, None]
    second = second + torch.randn(count, UNITS, *grid, generator=generator)
    second[:, 2] = 5.0
    return first, second


def gathered(layers: tuple[Tensor, Tensor], cuts: list[int], batch: int) -> Tally:
    first, second = layers
    grid = second.shape[2], second.shape[3]
    rooms = (
        LayerSettings(OTHERS, 2, 1, CLASSES, CPU, "first"),
        LayerSettings(UNITS, 2, 1, CLASSES, CPU, "second", ("first", "second"), True),
    )
    wholes = [LayerStatistics(room, grid) for room in rooms]
    for start, end in itertools.pairwise([0, *cuts, len(first)]):
        parts = [whole.shard() for whole in wholes]
        for numbers in torch.arange(start, end).split(batch):
            together = Batch(numbers, numbers % (CLASSES + 1) - 1, torch.zeros_like(numbers))
            for part, maps in zip(parts, layers, strict=True):
                part.add(maps[numbers], together)
        for whole, part in zip(wholes, parts, strict=True):
            whole.merge(part)
    return Tally(wholes[1].tensors(), len(first), grid)


def expected(layers: tuple[Tensor, Tensor], keep: list[int]) -> np.ndarray:
    peaks = [maps.double().amax((2, 3)).numpy()[keep] for maps in layers]
    with np.errstate(invalid="ignore"):
        return np.corrcoef(peaks[1], peaks[0], rowvar=False)


@pytest.mark.parametrize("count", [40, 2 * WAITING + 77])
def test_correlations_are_those_of_all_peaks_at_once(count: int) -> None:
    layers = layers_of(count)
    found = gathered(layers, [13, 29], 9).correlations
    whole = expected(layers, list(range(count)))
    for name, values in (("second", whole[:UNITS, :UNITS]), ("first", whole[:UNITS, UNITS:])):
        changing = [unit for unit in range(UNITS) if unit != 2]
        assert torch.isnan(found[name][2]).all()
        np.testing.assert_allclose(found[name].numpy()[changing], values[changing], atol=1e-6)


def test_a_constant_far_from_zero_correlates_with_nothing() -> None:
    """Naive sums of squares of peaks near 1000 would lose the digits that matter."""
    layers = layers_of(50)
    layers = layers[0] + 1e6, layers[1]
    assert torch.isnan(gathered(layers, [20], 7).correlations["second"][2, 0])
    found = gathered(layers, [20], 7).correlations["first"][0]
    np.testing.assert_allclose(found.numpy(), expected(layers, list(range(50)))[0, UNITS:], atol=1e-6)


def test_images_with_anything_not_finite_do_not_correlate() -> None:
    layers = layers_of(50)
    layers[0][7, 1, 0, 0] = math.nan
    layers[1][30, 3, 1, 1] = math.inf
    found = gathered(layers, [20], 8).correlations
    rest = [i for i in range(50) if i not in (7, 30)]
    np.testing.assert_allclose(found["first"].numpy()[0], expected(layers, rest)[0, UNITS:], atol=1e-6)
    own = [i for i in range(50) if i != 30]
    np.testing.assert_allclose(found["second"].numpy()[0, 3], expected(layers, own)[0, 3], atol=1e-6)


@pytest.mark.parametrize("grid", [(3, 4), (14, 5), (10, 9)])
def test_class_maps_are_means_of_maps(grid: tuple[int, int]) -> None:
    layers = layers_of(41, grid)
    layers[1][8, 0, 1, 1] = math.nan
    maps = gathered(layers, [10, 30], 8).class_maps
    assert maps is not None
    h, w = min(SIDE, grid[0]), min(SIDE, grid[1])
    assert maps.shape == (CLASSES, UNITS, h, w)
    for class_, unit in itertools.product(range(CLASSES), range(UNITS)):
        of = [i for i in range(41) if i % (CLASSES + 1) - 1 == class_ and not (i == 8 and unit == 0)]
        mean = layers[1][of, unit].double().mean(0)
        for y, x in itertools.product(range(h), range(w)):
            window = mean[y * grid[0] // h : -(-(y + 1) * grid[0] // h), x * grid[1] // w : -(-(x + 1) * grid[1] // w)]
            assert float(maps[class_, unit, y, x]) == pytest.approx(float(window.mean()), rel=1e-5)


def test_groups_of_units_are_drawn_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    member = torch.randint(0, 3, (30,), generator=generator)
    values = torch.where(member[:, None] == member[None], 0.9, -0.1) + 0.05 * torch.randn(30, 30, generator=generator)
    down, across = arranged(values)
    assert torch.equal(down.sort().values, torch.arange(30))
    for order in (down, across):
        changes = int((member[order][1:] != member[order][:-1]).sum())
        assert changes == 2
