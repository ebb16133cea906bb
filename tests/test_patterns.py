"""Patterns drive their unit, do not depend on who shares the run, and say when they are stuck."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file
from torch import nn

from innersight import tap
from innersight.activations import activations
from innersight.errors import InnersightError
from innersight.image import stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import PatternProgress, Patterns, Views, parameterizations, patterns
from innersight.patterns.parameterize import photograph_statistics
from innersight.patterns.views import draw, view
from innersight.render.colour import as_colour


def response(model: Model, pattern: torch.Tensor, layer: str) -> torch.Tensor:
    with tap.untouched(model), torch.no_grad():
        fed = model.input.normalise(pattern[None].to(model.dtype))
        return tap.capture(model, fed, [layer]).activations[layer][0].float()


@pytest.fixture(scope="module")
def whole_layer() -> Patterns:
    return patterns(tiny("in-place"), "conv2", steps=24, images=[image(1), image(2)])


def test_every_unit_rises_over_its_start(whole_layer: Patterns) -> None:
    assert [str(target) for target in whole_layer.targets] == [f"conv2:{unit}" for unit in range(8)]
    for score in whole_layer.scores:
        assert score.activation > score.start
        assert "stuck" not in score.flags


def test_the_scores_are_the_responses_to_the_finished_images(whole_layer: Patterns) -> None:
    model = whole_layer.model
    natural = activations(model, [image(1), image(2)], ["conv2"]).values["conv2"].amax((0, 2, 3))
    for unit, (pattern, score) in enumerate(zip(whole_layer.images, whole_layer.scores, strict=True)):
        assert score.activation == pytest.approx(float(response(model, pattern, "conv2")[unit].max()), abs=1e-5)
        assert score.natural == pytest.approx(float(natural[unit]), abs=1e-5)
        if score.natural > 0:
            assert score.ratio == pytest.approx(score.activation / score.natural)
            assert ("below natural" in score.flags) == (score.ratio < 1)
        else:
            assert score.ratio is None


def test_images_are_pixels(whole_layer: Patterns) -> None:
    assert whole_layer.images.shape == (8, 3, 24, 24)
    assert whole_layer.images.dtype == torch.float32
    assert 0 <= whole_layer.images.min() < whole_layer.images.max() <= 1
    assert not whole_layer.images.requires_grad
    assert len({image.numpy().tobytes() for image in whole_layer.images}) == 8


@pytest.mark.parametrize(
    "company", [["conv2:3"], ["conv2:3", "conv2:0-2"], ["class:ash", "conv2:5", "conv1:1", "conv2:3"]]
)
def test_a_units_image_does_not_depend_on_its_company(company: list[str], whole_layer: Patterns) -> None:
    found = patterns(tiny("in-place"), company, steps=24)
    place = [str(target) for target in found.targets].index("conv2:3")
    assert torch.equal(found.every[place], whole_layer.every[3])
    assert torch.equal(found.images[place], whole_layer.images[3])


@pytest.mark.parametrize("parameterize", list(parameterizations))
def test_a_seed_gives_the_same_image_again(parameterize: str) -> None:
    model = tiny("dense")
    first, again, other = (
        patterns(model, "step3:1", steps=4, parameterize=parameterize, seed=seed, seeds=1).images for seed in (7, 7, 8)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.01)
    torch.manual_seed(99)
    assert torch.equal(patterns(model, "step3:1", steps=4, parameterize=parameterize, seed=7, seeds=1).images, first)


def test_units_begin_with_different_images() -> None:
    first, second = patterns(tiny("in-place"), "conv2:0-1", steps=1, seeds=1, parameterize="pixels").images
    # One step moves a pixel by about 0.0125; the start scatters by 0.025.
    assert float((first - second).abs().mean()) > 0.02


@pytest.mark.parametrize("parameterize", list(parameterizations))
@pytest.mark.parametrize(("net", "size"), [("in-place", 17), ("grey", None), ("wide", None), ("in-place", 8)])
def test_any_size_and_number_of_channels(net: str, size: int | None, parameterize: str) -> None:
    model = tiny(net)
    found = patterns(model, "relu1:0-1", steps=3, seeds=1, size=size, parameterize=parameterize)
    channels, height, width = model.input.shape
    assert found.images.shape == (2, channels, size or height, size or width)
    assert torch.isfinite(found.images).all()
    assert as_colour(found.images, found.model.input.shown).shape == (2, size or height, size or width, 3)


def test_a_class_rises(any_tiny: Model) -> None:
    found = patterns(any_tiny, ["class:birch", "class:3"], steps=16)
    assert [str(target) for target in found.targets] == ["class:birch", "class:dogwood"]
    for drawn, score, index in zip(found.images, found.scores, (1, 3), strict=True):
        with torch.no_grad():
            logit = any_tiny.net(any_tiny.input.normalise(drawn[None]))[0, index]
        assert score.activation == pytest.approx(float(logit), abs=1e-4)
        assert score.activation > score.start


def test_a_place_is_driven_and_the_rest_is_not() -> None:
    model = tiny("in-place")
    found = patterns(model, "conv1:2@5,17", steps=40, size=24)
    values = response(model, found.images[0], "conv1")[2]
    assert found.scores[0].activation == pytest.approx(float(values[5, 17]), abs=1e-5)
    start = patterns(model, "conv1:2@5,17", steps=1, size=24).images[0]
    changed = (found.images[0] - start).abs().sum(0)
    near = changed[2:9, 14:21].mean()
    assert near > 2 * changed[:, :8].mean()


def test_a_dead_unit_is_said_to_be_dead_and_the_others_are_not() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.bias[6] = -1e4
    found = patterns(model, "relu2:3,6", steps=6, images=[image(1)])
    assert [("dead" in score.flags) for score in found.scores] == [False, True]
    assert found.scores[1].ratio is None
    assert torch.isfinite(found.images).all()


def test_a_silent_unit_is_woken() -> None:
    model = tiny("in-place")
    before = patterns(model, "conv2:6", steps=80, seeds=1).scores[0]
    with torch.no_grad():
        # Silent at first, and within reach.
        model.net.conv2.bias[6] -= before.start + 0.3 * (before.activation - before.start)
    found = patterns(model, "relu2:6", steps=80, seeds=1).scores[0]
    assert found.start == 0
    assert found.activation > 0.5 * 0.7 * (before.activation - before.start)
    assert "dead" not in found.flags


def test_the_pass_ends_at_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("dense")
    calls: dict[nn.Module, int] = {}
    original = nn.Conv2d.forward

    def counted(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        calls[self] = calls.get(self, 0) + 1
        return original(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    patterns(model, "step1:0-3", steps=10)
    # Beyond the step asked for only the passes that survey the layers go.
    beyond = calls[model.net.step2[2]]
    assert beyond == calls[model.net.step3[2]] <= 3
    assert calls[model.net.step1[2]] >= beyond + 10


def test_no_gradient_of_weights_is_computed() -> None:
    model = tiny("dense")
    patterns(model, ["step2:0", "class:ash"], steps=2)
    assert all(parameter.grad is None for parameter in model.net.parameters())


def test_progress_counts_units() -> None:
    seen: list[PatternProgress] = []
    patterns(tiny("in-place"), ["conv1", "class:ash"], steps=20, until="steps", seeds=1, progress=seen.append)
    # Looked at after 15 updates, when the steps begin to fall, after 16 and 20, and in the end.
    assert [state.done for state in seen] == [0, 0, 0, 7]
    assert {state.total for state in seen} == {7}
    assert seen[0].rate > 0
    assert seen[0].left > seen[-1].left == 0


def test_previews_while_it_runs(tmp_path: Path) -> None:
    names: list[list[str]] = []

    def watch(state: PatternProgress) -> None:
        names.append([name for name, rows in state.images() if rows.shape == (1, 3, 24, 24)])
        state.save(tmp_path / "preview.png")

    patterns(tiny("in-place"), "conv1:0-1", steps=20, until="steps", seeds=1, progress=watch)
    assert names == [["conv1:0", "conv1:1"]] * 3 + [[]]
    with PILImage.open(tmp_path / "preview.png") as drawn:
        assert np.asarray(drawn.convert("RGB")).std() > 10


@pytest.mark.parametrize(
    ("what", "options", "why"),
    [
        ("conv2:8", {}, r"conv2:8: conv2 has units 0-7"),
        ("conv2:1@12,0", {}, r"the grid of conv2 is 12x12 \(y, x\)"),
        ("conv2:1@0,12", {}, r"the grid of conv2 is 12x12"),
        ("conv9:0", {}, "did you mean conv"),
        ("class:maple", {}, "no class 'maple'"),
        ([], {}, "nothing to optimize"),
        ("conv2:", {}, "is not an address"),
        ("conv2:0", {"steps": 0}, "at least one step"),
        ("conv2:0", {"size": 7}, "at least 8 pixels"),
        ("conv2:0", {"seeds": 0}, "seeds=0 and variants=1 must be at least 1"),
        ("conv2:0", {"lr": -1.0}, "lr=-1.0: give a positive number"),
        ("conv2:0", {"until": "bored"}, "until='bored': choose from converged, steps"),
        ("conv2:0", {"precision": "int8"}, "precision='int8': choose from float32, bfloat16"),
        ("conv2:0", {"statistics": "paintings"}, "statistics='paintings': choose photographs or images"),
        ("conv2:0", {"statistics": "images"}, "no images to measure"),
        ("conv2:0", {"statistics": photograph_statistics(4)}, "statistics of 4 channels, but the network takes 3"),
        ("conv2:0", {"keep": Path(__file__)}, "patterns cannot be kept there"),
        ("conv2:0", {"parameterize": "furrier"}, r"did you mean fourier\?"),
    ],
)
def test_errors(what: str, options: dict, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        patterns(tiny("in-place"), what, **{"steps": 1, **options})


def test_saving(whole_layer: Patterns, tmp_path: Path) -> None:
    document = json.loads(whole_layer.save(tmp_path / "a.json").read_text())
    assert document["settings"]["steps"] == 24
    assert document["patterns"][2]["address"] == "conv2:2"
    assert document["patterns"][2]["activation"] == whole_layer.scores[2].activation
    assert torch.equal(load_file(whole_layer.save(tmp_path / "a.safetensors"))["images"], whole_layer.images)
    with PILImage.open(whole_layer.save(tmp_path / "a.png")) as drawn:
        assert np.asarray(drawn.convert("RGB")).std() > 10


def test_a_view_that_changes_nothing() -> None:
    pixels = stack([image(1)], tiny("wide").input)
    still = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    assert torch.allclose(view(pixels, still), pixels, atol=1e-5)


def test_views_move_turn_and_zoom_without_stretching() -> None:
    # A dot right of the centre of a wide image, turned by a quarter, lies as far above or below it.
    pixels = torch.zeros(1, 1, 21, 41)
    pixels[0, 0, 10, 27] = 1
    turned = view(pixels, torch.tensor([[0.0, 0.0, 1.0, torch.pi / 2]]))[0, 0]
    y, x = divmod(int(turned.argmax()), 41)
    assert (abs(y - 10), x) == (7, 20)
    zoomed = view(pixels, torch.tensor([[0.0, 0.0, 2.0, 0.0]]))[0, 0]
    assert abs(divmod(int(zoomed.argmax()), 41)[1] - 34) <= 1
    moved = view(pixels, torch.tensor([[0.1, 0.0, 1.0, 0.0]]))[0, 0]
    assert abs(divmod(int(moved.argmax()), 41)[1] - 25) <= 1


def test_draws_stay_within_their_reach() -> None:
    draws = draw(Views(), torch.Generator().manual_seed(0), 2000)
    assert draws[:, :2].abs().max() <= 0.12
    assert (draws[:, 2] - 1).abs().max() <= 0.08
    assert draws[:, 3].abs().max() <= torch.deg2rad(torch.tensor(8.0))
    assert draws.std(0).min() > 0.02


def test_a_network_of_one_size_only() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 24 * 24, 2))
    model = Model(net, InputSpec(24, 24), ("a", "b"), "fixed", "a test")
    assert patterns(model, "class:a", steps=1).images.shape == (1, 3, 24, 24)
    with pytest.raises(InnersightError, match="size=32: fixed takes only images of 24x24 or sizes that fit"):
        patterns(model, "class:a", steps=1, size=32)
