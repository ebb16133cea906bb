"""Dissection against slow and obvious loops in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from networks import tiny

import innersight as ins
from innersight.activations import compute
from innersight.dissection.overlap import RESAMPLES, Overlap, draws, finite, share
from innersight.dissection.shuffles import corrected
from innersight.inputs import ImageEntry

TOP, COUNT = 0.05, 6


class Blobs:
    """Random images of the network's own size with three parts that overlap."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng(number)
        masks = {}
        for part in ("a", "b", "c"):
            y, x = rng.integers(0, 14, 2)
            masks[part] = np.zeros((24, 24), bool)
            masks[part][y : y + 9, x : x + 7] = True
        noise = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        noise[masks["a"]] = (250, 20, 20)
        return {"image": noise, "masks": masks}


def wide(values: np.ndarray, size: int) -> np.ndarray:
    """Bring a map to size x size, between the middles of places; beyond the outer middles it stays as it is."""
    height, width = values.shape
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y = min(max((i + 0.5) * height / size - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size - 0.5, 0), width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            upper = values[y0, x0] * (1 - (x - x0)) + values[y0, x1] * (x - x0)
            lower = values[y1, x0] * (1 - (x - x0)) + values[y1, x1] * (x - x0)
            out[i, j] = upper * (1 - (y - y0)) + lower * (y - y0)
    return out


def test_overlap() -> None:
    model, blobs = tiny("in-place"), Blobs()
    found = ins.dissect(model, blobs, layers=["relu2"], quantile=TOP, batch=4)
    layer = found.layers["relu2"]
    x = torch.stack([ins.Image(_image(blobs[i]["image"]), str(i)).tensor(model.input) for i in range(COUNT)])
    maps = compute(model, x, ["relu2"])["relu2"].double().numpy()
    for unit in range(maps.shape[1]):
        level = float(layer.threshold[unit])
        exact = np.quantile(maps[:, unit], 1 - TOP)
        assert abs(level - exact) <= 0.05 * abs(exact) + 1e-6
        above = (maps[:, unit] > level).mean()
        assert float(layer.share[unit]) == np.float32(above)
        assert above <= TOP * 1.2
        answers = np.stack([wide(maps[i, unit], 24) > level for i in range(COUNT)])
        for number, part in enumerate(found.parts):
            mask = np.stack([blobs[i]["masks"][part] for i in range(COUNT)])
            union = (answers | mask).sum()
            slow = (answers & mask).sum() / union
            # A place whose value is the level but for rounding may go either way.
            assert abs(float(layer.overlap[unit, number]) - slow) <= 1.01 / union, (unit, part)


def test_a_map_with_anything_not_finite_responds_nowhere() -> None:
    maps = torch.randn(2, 3, 4, 5)
    broken = maps.clone()
    broken[0, 1, 2, 3] = torch.nan
    broken[1, 0, 0, 0] = torch.inf
    broken[1, 2, :, 4] = -torch.inf
    expected = maps.clone()
    for image, unit in ((0, 1), (1, 0), (1, 2)):
        expected[image, unit] = -torch.inf
    assert torch.equal(finite(broken), expected)
    assert torch.equal(finite(maps), maps)


def _image(pixels: np.ndarray) -> Any:
    from PIL import Image as PILImage

    return PILImage.fromarray(pixels)


def test_the_test_by_shuffles() -> None:
    generator = torch.Generator().manual_seed(4)
    count, shuffles = 7, 39
    maps = torch.randint(0, 256, (count, 3, 4, 4), generator=generator).to(torch.uint8)
    masks = torch.randint(0, 256, (count, 2, 4, 4), generator=generator).to(torch.uint8)
    maps[:, 1] = masks[:, 0]
    tested = torch.tensor([[True, True], [True, True], [False, True]])
    rng = np.random.default_rng(5)
    orders = [np.arange(count), *(rng.permutation(count) for _ in range(shuffles))]
    sums = np.zeros((len(orders), 3, 2))
    for r, order in enumerate(orders):
        for unit in range(3):
            for part in range(2):
                for i in range(count):
                    own, other = maps[i, unit].double().numpy() / 255, masks[order[i], part].double().numpy() / 255
                    sums[r, unit, part] += (own * other).sum()
    scores = np.zeros_like(sums)
    for unit in range(3):
        for part in range(2):
            z = (sums[:, unit, part] - sums[:, unit, part].mean()) / sums[:, unit, part].std()
            skew = max((z**3).mean(), 1e-3)
            scores[:, unit, part] = 6 / skew * (np.maximum(1 + skew * z / 2, 0) ** (1 / 3) - 1) + skew / 6
    highest = [max(scores[r][tested.numpy()]) for r in range(1, len(orders))]
    (fast,) = corrected([maps], masks, [tested], shuffles=shuffles, seed=5)
    parted = corrected([maps[:, :1], maps[:, 1:]], masks, [tested[:1], tested[1:]], shuffles=shuffles, seed=5)
    assert torch.equal(torch.cat(parted).nan_to_num(9), fast.nan_to_num(9))
    for unit in range(3):
        for part in range(2):
            if not tested[unit, part]:
                assert fast[unit, part].isnan()
                continue
            reached = sum(one >= scores[0, unit, part] - 1e-4 for one in highest)
            assert float(fast[unit, part]) == np.float32((1 + reached) / (1 + shuffles))
    assert float(fast[1, 0]) == np.float32(1 / 40)


def test_the_interval() -> None:
    rng = np.random.default_rng(0)
    images, side = 60, 12
    masks = (rng.random((images, 1, side * side)) < rng.random((images, 1, 1)) * 0.5).astype(np.float32)
    maps = masks * (rng.random((images, 1, side * side)) < rng.random((images, 1, 1))).astype(np.float32)
    overlap = Overlap(torch.tensor([0.5]), 1, (side, side), 0)
    area = torch.zeros(RESAMPLES, 1)
    for start in range(0, images, 16):
        some = slice(start, min(start + 16, images))
        own = [ImageEntry(i, str(i), None, None, lambda: None, bytes) for i in range(images)[some]]  # type: ignore[arg-type]
        drawn = draws(own)
        mask = torch.from_numpy(masks[some])
        overlap.add(torch.from_numpy(maps[some]).view(-1, 1, side, side), mask, own, drawn, [None] * len(own))
        area += drawn @ mask.sum(2)
    fast = np.quantile(share(overlap.both_drawn, overlap.on_drawn, area)[:, 0, 0].numpy(), [0.025, 0.975])
    both, union = (maps * masks).sum((1, 2)), np.maximum(maps, masks).sum((1, 2))
    again = rng.integers(0, images, (20_000, images))
    slow = np.quantile(both[again].sum(1) / union[again].sum(1), [0.025, 0.975])
    assert np.abs(fast - slow).max() < 0.2 * (slow[1] - slow[0])
    assert int(overlap.both[0, 0]) == int(both.sum())
    assert int(overlap.on[0]) == int(maps.sum())
