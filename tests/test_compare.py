"""The ranking is the definition, computed slowly, and finds the unit that sees the same thing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from safetensors.torch import load_file
from torch import Tensor, nn

from innersight.activations import activations
from innersight.compare import compare, rank
from innersight.errors import InnersightError
from innersight.image import Image, as_image
from innersight.input_spec import InputSpec
from innersight.layers import last_grid
from innersight.model import Model
from innersight.sources import load


def bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (h, w), pixel centres aligned, edges repeated."""
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v = max(0.0, (y + 0.5) * values.shape[0] / size[0] - 0.5)
            u = max(0.0, (x + 0.5) * values.shape[1] / size[1] - 0.5)
            y0, x0 = int(v), int(u)
            y1, x1 = min(y0 + 1, values.shape[0] - 1), min(x0 + 1, values.shape[1] - 1)
            fy, fx = v - y0, u - x0
            out[y, x] = (values[y0, x0] * (1 - fx) + values[y0, x1] * fx) * (1 - fy)
            out[y, x] += (values[y1, x0] * (1 - fx) + values[y1, x1] * fx) * fy
    return out


def slow_scores(maps_of: Tensor, features: Tensor, *, own: bool) -> list[tuple[float, list[float], list[float], float]]:
    """Follow the definition unit by unit, place by place."""
    values = maps_of.double().clamp(min=0).numpy()
    images, units, height, width = values.shape
    context = np.stack([[bilinear(f, (height, width)) for f in p] for p in features.double().numpy()])
    for d in range(context.shape[1]):
        spread = context[:, d].std(ddof=1)
        context[:, d] = (context[:, d] - context[:, d].mean()) / max(spread, 1e-6)
    rows = []
    for u in range(units):
        strength, sparsity, seen = [], [], []
        for p in range(images):
            peaks = [values[p, other].max() for other in range(units)]
            lower = sum(peaks[other] < peaks[u] for other in range(units))
            strength.append(lower / (units - 1) if peaks[u] > 0 else 0.0)
            flat = values[p, u].ravel()
            norm = math.sqrt(sum(v * v for v in flat))
            root = math.sqrt(len(flat))
            sparsity.append((root - sum(flat) / norm) / (root - 1) if norm > 0 else 0.0)
            weight = np.maximum(values[p, u] - values[p, u].max() / 2, 0)
            total = weight.sum()
            described = [
                float((weight * context[p, d]).sum() / total) if total > 0 else 0.0 for d in range(context.shape[1])
            ]
            if own:
                described[u] = 0.0
            seen.append(np.array(described))
        cosines = []
        for a in range(images):
            for b in range(a + 1, images):
                length = np.linalg.norm(seen[a]) * np.linalg.norm(seen[b])
                cosines.append(float(seen[a] @ seen[b] / length) if length > 0 else 0.0)
        agreement = min(1.0, max(0.0, sum(cosines) / len(cosines)))
        score = (min(strength) * min(sparsity) * agreement) ** (1 / 3)
        rows.append((score, strength, sparsity, agreement))
    return rows


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    ("name", "layer"), [("in-place", "relu1"), ("in-place", "relu2"), ("wide", "conv1"), ("dense", "step3")]
)
def test_the_score_is_the_definition(name: str, layer: str, count: int) -> None:
    model = tiny(name)
    images = [image(i) for i in range(count)]
    found = compare(model, images, layer)
    context = last_grid(model)[0]
    values = activations(model, images, [layer, context]).values
    truth = slow_scores(values[layer], values[context], own=layer == context)
    assert torch.equal(found.maps, values[layer])
    assert found.strength.shape == found.sparsity.shape == (values[layer].shape[1], count)
    for unit, (score, strength, sparsity, agreement) in enumerate(truth):
        assert found.strength[unit].tolist() == pytest.approx(strength, abs=1e-6)
        assert found.sparsity[unit].tolist() == pytest.approx(sparsity, abs=1e-5)
        assert float(found.agreement[unit]) == pytest.approx(agreement, abs=1e-4)
        assert float(found.score[unit]) ** 3 == pytest.approx(score**3, abs=1e-4)
    assert sorted(found.order) == list(range(len(truth)))
    ordered = [float(found.score[unit]) for unit in found.order]
    assert ordered == sorted(ordered, reverse=True)


class Colours(nn.Module):
    """Unit 5 fires on magenta squares; the others on brightness, other colours and edges."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Conv2d(3, 8, 3, padding=1)
        self.context = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12, 2)
        nn.init.normal_(self.units.weight, 0, 0.1)
        nn.init.constant_(self.units.bias, 0)
        with torch.no_grad():
            self.units.weight[5] = torch.tensor([1.0, -2.0, 1.0])[:, None, None] / 9
            self.units.bias[5] = -0.6

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.context(torch.relu(self.units(x)))).mean((2, 3)))


def scene(seed: int, place: tuple[int, int]) -> Image:
    pixels = np.asarray(image(seed, width=48, height=48).pil).copy()
    pixels[..., 1] = np.maximum(pixels[..., 1], 90)
    pixels[place[0] : place[0] + 8, place[1] : place[1] + 8] = (255, 0, 255)
    return as_image(pixels, name=f"scene {seed}")


def test_the_unit_that_sees_the_same_square_ranks_first() -> None:
    torch.manual_seed(0)
    model = Model(Colours().eval(), InputSpec(48, 48), ("a", "b"), "colours", "a test")
    images = [scene(1, (4, 30)), scene(2, (30, 6))]
    found = compare(model, images, "units")
    assert found.order[0] == 5
    assert float(found.agreement[5]) > 0.8
    peaks = [divmod(int(one[5].argmax()), 48) for one in found.maps]
    assert 4 <= peaks[0][0] < 12
    assert 30 <= peaks[0][1] < 38
    assert 30 <= peaks[1][0] < 38
    assert 6 <= peaks[1][1] < 14


def test_silent_units_score_nothing() -> None:
    values = torch.rand(1, 4, 5, 5).repeat(2, 1, 1, 1)
    values[:, 1] = 0
    values[0, 2] = -1
    features = torch.rand(1, 6, 3, 3).repeat(2, 1, 1, 1)
    found = rank(tiny("in-place"), "x", (image(1), image(2)), values, features, own=False)
    assert float(found.score[1]) == float(found.score[2]) == 0
    assert float(found.score[found.order[0]]) > 0
    assert torch.isfinite(found.score).all()


def test_the_same_image_twice_agrees_wholly() -> None:
    found = compare(tiny("dense"), [image(1), image(1)], "stem")
    fires = found.maps.amax((0, 2, 3)) > 0
    assert fires.any()
    assert torch.allclose(found.agreement[fires], torch.ones(int(fires.sum())), atol=1e-5)


def test_the_same_image_under_two_names_is_told() -> None:
    images = [image(1), image(2), replace(image(1), name="copy.png")]
    found = compare(tiny("in-place"), images, "relu2")
    assert found.notes[-1] == (f"{images[0].name} and copy.png are the same image, so agreement on them is meaningless")
    assert not compare(tiny("in-place"), images[:2], "relu2").notes


def test_errors() -> None:
    model = tiny("in-place")
    with pytest.raises(InnersightError, match="at least two images"):
        compare(model, [image(1)], "conv1")
    with pytest.raises(InnersightError, match=r"head has a grid of 1x1"):
        compare(model, [image(1), image(2)], "head")
    with pytest.raises(InnersightError, match="did you mean conv"):
        compare(model, [image(1), image(2)], "conv3")


def test_saving(tmp_path: Path) -> None:
    found = compare(tiny("in-place"), [image(1), image(2)], "relu1")
    document = json.loads(found.save(tmp_path / "a.json").read_text())
    assert [row["unit"] for row in document["rank"]] == list(found.order)
    assert document["rank"][0]["address"] == f"relu1:{found.order[0]}"
    assert "geometric mean" in document["definition"]
    assert found.rank(2) == found.rank()[:2]
    assert found.save(tmp_path / "a.png").stat().st_size > 1000
    assert torch.equal(load_file(found.save(tmp_path / "a.safetensors"))["score"], found.score)


def test_agreement_is_the_mean_over_pairs_of_images() -> None:
    found = compare(tiny("in-place"), [image(1), image(2), image(3)], "conv2")
    assert found.pairs.shape == (8, 3)
    assert torch.allclose(found.agreement, found.pairs.mean(1).clamp(0, 1))


def test_a_unit_that_sees_the_padding_is_not_ranked_as_if_it_saw_something() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        # Unit 3 is what a dark image takes away from a bias: along the border less is taken away.
        net[0].weight[3] = -1.0 / 27
        net[0].bias[3] = 0.6
    # An empty image is 0 as the padding is, so that it has no border; after a half is added, it has one.
    model = load(net.eval(), input=InputSpec(12, 12, fit="squash"))
    shift = nn.Sequential(Shift(), *net)
    shifted = load(shift.eval(), input=InputSpec(12, 12, fit="squash"))
    pixels = np.random.default_rng(0).integers(60, 100, (2, 12, 12, 3)).astype(np.uint8)
    images = [as_image(one, name=f"{i}") for i, one in enumerate(pixels)]
    found = compare(shifted, images, "2")
    assert bool(found.padding[3])
    assert float(found.score[3]) == 0
    assert "padding" in found.reason(3)
    assert found.rank()[-1]["padding"]
    # The same unit where the empty image has no such border.
    assert not compare(model, images, "1").padding.any()


class Shift(nn.Module):
    """Adds a half."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5
