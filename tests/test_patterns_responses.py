"""What the user's own images say beside patterns: natural maxima and the parts that excite most."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from torch import Tensor, nn

from innersight import tap
from innersight.errors import InnersightError
from innersight.image import ImageError, as_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import patterns
from innersight.patterns.objectives.direction import along
from innersight.scan import Batching, scan
from innersight.sources import load

IMAGES = [image(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("in-place")


def activations(model: Model, layer: str) -> Tensor:
    with tap.untouched(model), torch.no_grad():
        return tap.capture(model, stack(IMAGES, model.input), [layer]).activations[layer]


def test_what_switches_off_and_classes_have_natural_values(model: Model) -> None:
    label = model.labels[1]
    found = patterns(model, ["relu2:3", f"class:{label}"], steps=1, seeds=1, negatives=True, images=IMAGES)
    assert found.negatives is not None
    below = activations(model, "conv2")[:, 3]
    with tap.untouched(model), torch.no_grad():
        logits = model.logits(stack(IMAGES, model.input))[:, 1]
    unit, class_ = found.scores
    assert unit.natural == pytest.approx(float(below.clamp(min=0).max()), abs=1e-5)
    # Before the ReLU: how far below zero the unit can be brought.
    assert found.negatives.scores[0].natural == pytest.approx(float(-below.min()), abs=1e-5)
    values = (-below).flatten().sort(descending=True).values
    assert found.negatives.scores[0].p999 == pytest.approx(float(values[len(values) // 1000]), abs=1e-5)
    assert class_.natural == pytest.approx(float(logits.max()), abs=1e-5)
    assert found.negatives.scores[1].natural == pytest.approx(float(-logits.min()), abs=1e-5)


def test_images_are_read_a_batch_at_a_time_and_once_for_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    real = model.net.forward
    monkeypatch.setattr(model.net, "forward", lambda x: passes.append(len(x)) or real(x))
    alone = patterns(model, "relu2:3", steps=1, seeds=1).scores
    before = len(passes)
    passes.clear()
    few = patterns(model, "relu2:3", steps=1, seeds=1, images=IMAGES * 8).scores
    assert len(alone) == len(few) == 1
    one = len(passes) - before
    passes.clear()
    patterns(model, ["relu2:0-7", f"class:{model.labels[0]}"], steps=1, seeds=1, negatives=True, images=IMAGES * 8)
    many = passes.count(16) + passes.count(8)
    assert one >= 3  # 40 images in batches of 16, and the fields of the layer
    assert many <= one + 12  # not one for each of 18 objectives


def test_examples_of_a_place_are_of_that_place(model: Model) -> None:
    found = patterns(model, ["relu2:2", "relu2:2@1,2"], steps=1, seeds=1, images=IMAGES)
    maps = activations(model, "relu2")[:, 2]
    at = maps[:, 1, 2]
    assert found.scores[1].natural == pytest.approx(float(at.max()), abs=1e-5)
    assert [one.value for one in found.natural[1]] == pytest.approx(
        at.sort(descending=True).values[:3].tolist(), abs=1e-5
    )
    peaks = maps.flatten(1).amax(1)
    assert [one.value for one in found.natural[0]] == pytest.approx(
        peaks.sort(descending=True).values[:3].tolist(), abs=1e-5
    )
    names = [IMAGES[int(i)].name for i in peaks.argsort(descending=True)[:3]]
    assert [one.image for one in found.natural[0]] == names


def test_examples_of_directions_and_sums_are_their_own(model: Model) -> None:
    units = activations(model, "conv2").shape[1]
    first, second = torch.eye(units)[2], torch.eye(units)[5]
    wanted = [along("conv2", first), along("conv2", second), "relu2:1 - relu2:3", "dream(conv2)"]
    found = patterns(model, wanted, steps=1, seeds=1, images=IMAGES)
    assert found.natural[0] != found.natural[1]
    sums = activations(model, "relu2")[:, 1].flatten(1).amax(1) - activations(model, "conv2")[:, 3].flatten(1).amin(1)
    assert found.scores[2].natural == pytest.approx(float(sums.max()), abs=1e-5)
    for score, examples in zip(found.scores, found.natural, strict=True):
        assert score.natural == pytest.approx(examples[0].value)
        assert [one.value for one in examples] == sorted((one.value for one in examples), reverse=True)
    # Without a place of its own the whole image is shown.
    best = next(p for p in IMAGES if p.name == found.natural[3][0].image)
    seen = model.input.denormalise(best.tensor(model.input)[None])[0].clamp(0, 1)
    assert torch.allclose(found.examples[3, 0], seen, atol=1e-5)


def test_a_place_counts_in_the_grid_of_the_size_asked_for(model: Model) -> None:
    own = activations(model, "conv2").shape[2]
    large = 3 * model.input.height
    found = patterns(model, f"conv2:1@{own + 2},{own + 3}", size=large, steps=2, seeds=1, images=IMAGES)
    assert found.images.shape[2:] == (large, large)
    assert found.scores[0].natural is not None
    with pytest.raises(Exception, match="the grid of conv2 is"):
        patterns(model, f"conv2:1@{own - 1},{own - 1}", size=max(8, model.input.height // 2), steps=1)


def test_an_inversion_of_another_size_has_natural_values(model: Model) -> None:
    found = patterns(model, "inversion(conv2)", reference=IMAGES[0], size=32, images=IMAGES, steps=2, seeds=1)
    assert found.natural[0][0].image == IMAGES[0].name


def test_examples_keep_their_proportions(model: Model) -> None:
    found = patterns(model, f"class:{model.labels[0]}", size=(24, 48), steps=1, seeds=1, images=IMAGES)
    assert found.examples.shape[3:] == (24, 48)
    assert bool((found.examples[0, 0, :, :, :12] == 1).all())
    assert bool((found.examples[0, 0, :, :, 12:36] < 1).any())


class Red(nn.Module):
    """Unit 0 is on only where an image is redder than random pixels ever are."""

    def __init__(self, rectify: nn.Module) -> None:
        super().__init__()
        self.conv, self.on, self.head = nn.Conv2d(3, 2, 1), rectify, nn.Linear(2, 2)
        self.conv.weight.data = torch.tensor([[1.0, -1.0, -1.0], [0.0, 1.0, 0.0]])[..., None, None]
        self.conv.bias.data = torch.tensor([-0.9, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.on(self.conv(x)).mean((2, 3)))


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=0)


RED = as_image(np.array([[[255, 0, 0]]], np.uint8).repeat(32, 0).repeat(32, 1))


@pytest.mark.parametrize("rectify", [nn.ReLU(), nn.ReLU(inplace=True), Clamp(), nn.Threshold(0.0, 0.0)])
def test_a_unit_that_sleeps_long_is_woken_longer(rectify: nn.Module) -> None:
    red = load(Red(rectify).eval(), input=InputSpec(32, 32, fit="squash"))
    found = patterns(red, "on:0", steps=200, seeds=1, images=[RED], contrast=0)
    assert found.scores[0].activation > 0
    assert not {"dead", "silent"} & set(found.scores[0].flags)
    # It responds to pure red only, which is more than the contrast of natural images.
    bounded = patterns(red, "on:0", steps=200, seeds=1, images=[RED]).scores[0]
    assert bounded.activation == 0
    assert bounded.flags[0] == "silent"


def test_a_unit_that_images_excite_is_silent_and_not_dead() -> None:
    red = load(Red(nn.ReLU()).eval(), input=InputSpec(32, 32, fit="squash"))
    (score,) = patterns(red, "on:0", steps=1, seeds=1, images=[RED]).scores
    assert score.natural == pytest.approx(0.1, abs=1e-5)
    assert score.flags[0] == "silent"
    assert "below natural" in score.flags
    assert patterns(red, "on:0", steps=1, seeds=1).scores[0].flags[0] == "dead"


def test_values_that_are_no_numbers_leave_valid_json(model: Model) -> None:
    torch.manual_seed(0)
    net = Red(nn.ReLU())
    net.conv.weight.data[1] = torch.nan
    broken = load(net.eval(), input=InputSpec(16, 16, fit="squash"))
    found = patterns(broken, "conv:1", steps=2, seeds=1, negatives=True, images=[RED])
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["patterns"][0]["natural"] is None
    assert found.scores[0].flags == ("not a number",)
    assert found.natural == ((),)
    found.figure()


def test_variants_stand_in_a_row(model: Model) -> None:
    found = patterns(model, ["conv2:1", "conv2:2"], steps=4, seeds=2, variants=3)
    texts = [axis.get_title() for axis in found.figure().axes] + [
        text.get_text() for axis in found.figure().axes for text in axis.texts
    ]
    assert sum("variant" in text for text in texts) == 4
    for i in range(2):
        assert torch.equal(found.every[i, 3 * found.best[i]], found.images[i])


def test_a_folder_without_an_image_is_told_before_anything_is_drawn(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    drawn = []
    with pytest.raises(ImageError):
        patterns(model, "conv2:1", images=tmp_path, progress=drawn.append)
    assert drawn == []
    RED.pil.save(tmp_path / "b.png")
    assert len(patterns(model, "conv2:1", steps=1, seeds=1, images=tmp_path).skipped) == 1


def test_scores_take_what_a_scan_found(model: Model, tmp_path: Path) -> None:
    for i, one in enumerate(IMAGES):
        one.pil.save(tmp_path / f"{i}.png")
    found = scan(model, tmp_path, ["relu2"], batching=Batching(workers=0))
    by_scan = patterns(model, ["relu2:3", "-relu2:3", "conv1:1"], steps=2, seeds=1, scan=found).scores
    by_images = patterns(model, "relu2:3", steps=2, seeds=1, images=tmp_path).scores[0]
    assert by_scan[0].natural == pytest.approx(by_images.natural, rel=1e-5)
    assert by_scan[0].p999 == pytest.approx(found.natural("relu2:3")[1])
    assert (by_scan[1].natural, by_scan[2].natural) == (None, None)
    other = tiny("in-place")
    with torch.no_grad():
        other.net.conv1.bias += 1
    with pytest.raises(InnersightError, match="the scan is of"):
        patterns(other, "conv2:1", scan=found)
