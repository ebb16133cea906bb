"""Which heatmap holds what the score depends on, on the image itself; Grad-CAM without global pooling does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import image, tiny
from torch import nn

from innersight.heatmaps import explain
from innersight.heatmaps.blur import blurred
from innersight.heatmaps.cost import DIFFERENT, default_methods, light
from innersight.heatmaps.request import methods
from innersight.image import Image, as_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load
from innersight.trust.removal import DRAWS, FILLS, Removal, passes, removals

SIDE = 28


def corner(side: int = SIDE) -> Model:
    """A network whose class 0 depends on how bright the upper left quarter is; its brightest unit is elsewhere."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(2 * (side // 4) ** 2, 2)
    )
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0] = 1 / 3
        net[0].bias.zero_()
        weight = torch.zeros(2, 2, side // 4, side // 4)
        weight[0, 0, : side // 8, : side // 8] = 1
        net[4].weight.copy_(weight.flatten(1))
        net[4].bias.zero_()
    return load(net.eval(), input=InputSpec(side, side, fit="squash"))


def two_squares(side: int = SIDE) -> Image:
    """A grey square in the upper left quarter, a white one in the lower right, on black."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 2] = 200
    pixels[side // 2 :, side // 2 :] = 255
    return as_image(pixels, name="two squares")


def test_gradcam_without_global_pooling_is_found_out() -> None:
    model, seen = corner(), two_squares()
    found = explain(model, seen, 0, ["gradcam", "occlusion"])
    cam, occlusion = (entry.values for entry in found.entries)
    # It shows what is bright, and not what is read.
    assert cam.argmax() >= cam.numel() // 2
    judged = removals(model, seen, [cam, occlusion], 0)
    assert judged.lost[0] == pytest.approx(0, abs=1e-4)
    # The shape of what is bright, where it is not: the score falls.
    assert judged.elsewhere[0] is not None
    assert judged.elsewhere[0] > 0.02 * judged.score
    assert judged.lost[1] is not None
    assert judged.elsewhere[1] is not None
    assert judged.lost[1] > 2 * judged.elsewhere[1]


@pytest.mark.parametrize("rival", [None, 2])
def test_what_is_lost_matches_a_slow_loop(rival: int | None) -> None:
    model = tiny("in-place")
    size = model.input.height, model.input.width
    seen, one = image(1), torch.randn(*size, generator=torch.Generator().manual_seed(3))
    judged = removals(model, seen, [one], 1, rival)
    x = stack([seen], model.input)[0]
    rows, columns = min(14, size[0]), min(14, size[1])
    cells = torch.nn.functional.adaptive_avg_pool2d(one[None, None].double(), (rows, columns))[0, 0]
    order = cells.flatten().argsort(descending=True)[: round(0.2 * rows * columns)]

    def score(pixels: torch.Tensor) -> float:
        logits = model.logits(pixels[None].float())[0].detach()
        return float(logits[1] - (0 if rival is None else logits[rival]))

    def lost(down: int, right: int) -> float:
        cells = {((int(at) // columns + down) % rows, (int(at) % columns + right) % columns) for at in order}
        found = []
        for empty in (blurred(x[None])[0], x.mean((1, 2), keepdim=True).expand_as(x)):
            changed = x.clone()
            for y in range(size[0]):
                for column in range(size[1]):
                    if (y * rows // size[0], column * columns // size[1]) in cells:
                        changed[:, y, column] = empty[:, y, column]
            found.append(score(x) - score(changed))
        return sum(found) / 2

    drawn = np.random.default_rng((0, 1))
    shifts = [(int(drawn.integers(1, rows)), int(drawn.integers(1, columns))) for _ in range(DRAWS)]
    assert judged.score == pytest.approx(score(x), abs=1e-5)
    assert judged.lost[0] == pytest.approx(lost(0, 0), abs=1e-5)
    assert judged.elsewhere[0] == pytest.approx(sum(lost(*shift) for shift in shifts) / DRAWS, abs=1e-5)


def test_maps_that_rank_nothing_have_no_number_and_others_keep_theirs() -> None:
    model, seen = corner(), two_squares()
    ranks = torch.arange(16.0).view(4, 4)
    alone = removals(model, seen, [ranks], 0)
    judged = removals(model, seen, [torch.ones(4, 4), torch.full((4, 4), torch.nan), ranks, 2 * ranks, -ranks], 0)
    assert judged.lost[:2] == judged.elsewhere[:2] == (None, None)
    # The size of a map does not count, its sign does.
    assert judged.lost[2] == judged.lost[3] == pytest.approx(alone.lost[0])
    assert judged.lost[4] != judged.lost[2]
    assert removals(model, seen, [ranks], 0) == alone


@pytest.mark.parametrize("size", [(1, 32), (32, 1), (1, 2)])
def test_images_of_one_row_or_column_lose_their_highest_part(size: tuple[int, int]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], 2))
    with torch.no_grad():
        net[1].weight[:] = 1
    model = load(net.eval(), input=InputSpec(*size, fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3))
    pixels, values = np.zeros((*size, 3), np.uint8), torch.zeros(size)
    pixels[0, 0], values[0, 0] = 255, 1
    found = removals(model, as_image(pixels), [values], 0)
    assert found.lost[0] is not None
    assert found.elsewhere[0] is not None
    assert found.lost[0] > found.elsewhere[0]


def test_it_takes_the_passes_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    model = corner()
    counted: list[int] = []
    logits = Model.logits
    monkeypatch.setattr(Model, "logits", lambda self, x: counted.append(len(x)) or logits(self, x))
    found = removals(model, two_squares(), [torch.rand(4, 4), torch.rand(7, 7)], 0)
    assert isinstance(found, Removal)
    assert sum(counted) == passes(2) == 1 + len(FILLS) * 2 * (1 + DRAWS)


def test_default_methods_differ_and_rise_is_one_where_it_takes_no_time() -> None:
    assert default_methods(corner()) == (*DIFFERENT, "rise")
    large = load("small:32", input=InputSpec(224, 224))
    assert default_methods(large) == DIFFERENT
    assert light(large, DIFFERENT) == ["gradcam", "saliency"]
    assert light(large, ["occlusion"], most=1e15) == ["occlusion"]
    assert len({methods.entry(name).reads for name in DIFFERENT}) == len(DIFFERENT)
