"""The rules that end an image, weigh its frequencies and say which of its places mattered."""

from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from torch import nn

from innersight.image import as_image
from innersight.patterns import Statistics, Views, optimizer, patterns
from innersight.patterns.objectives import Rows, objectives, resolve
from innersight.patterns.optimizer import PatternOptimizer
from innersight.patterns.parameterize import PHOTOGRAPHS, _slopes, frequencies
from innersight.patterns.parameterize.fourier import Space
from innersight.patterns.schedule import CHECK, LONGER, WAKING, falling, rate, settled
from innersight.patterns.score import _agreement
from innersight.sources import load

FIRST = WAKING + 3 * CHECK  # steps of an image before any look can end it


def traced(*levels: float, first: float = 0.0, age: int = FIRST, span: int = CHECK) -> list[torch.Tensor]:
    """Return an objective that was `first` in the first four steps, and on average what the last spans say."""
    trace = torch.full((age,), (first + levels[0]) / 2)
    # The mean of the first steps counts too, and not the first one.
    trace[:4] = torch.tensor([first + 40, first - 20, first - 30, first + 10])
    for number, level in enumerate(levels):
        begin = age - (len(levels) - number) * span
        trace[begin : begin + span] = level
        # The mean of a span counts, and not its ends.
        trace[begin], trace[begin + 1] = level - 5, level + 5
    return list(trace)


def slot(*levels: float, age: int = FIRST, span: int = CHECK) -> Any:
    made = optimizer._Slot("x", nn.Parameter(torch.zeros(1)), torch.zeros(1), torch.zeros(1), span)
    made.age, made.trace = age, traced(*levels, age=age, span=span)
    return made


@pytest.mark.parametrize("first", [0.0, -7.0, 30.0])
@pytest.mark.parametrize("span", [CHECK, 3 * CHECK])
def test_an_image_has_settled_when_two_spans_add_little_of_its_rise(first: float, span: int) -> None:
    age = FIRST * span // CHECK
    for now in (10.0, 20.0):
        rise = abs(now - first)
        for share, ended in ((0.99, True), (1.01, False), (-3.0, True), (3.0, False), (0.0, True)):
            before = now - share * 0.04 * rise
            # It does not matter when it rose between them.
            for between in (before, now, now + rise):
                levels = traced(before, between, now, first=first, age=age, span=span)
                assert settled(levels, span) == ended, (share, between)


def test_not_before_its_time() -> None:
    assert not optimizer._settled(slot(5.0, 5.0, 5.0, age=FIRST - 1))
    assert optimizer._settled(slot(5.0, 5.0, 5.0, age=FIRST))
    longer = slot(5.0, 5.0, 5.0, age=FIRST + CHECK + LONGER)
    longer.longer = True
    assert optimizer._settled(longer)
    early = slot(5.0, 5.0, 5.0, age=FIRST + LONGER)
    early.longer = True
    assert not optimizer._settled(early)


def test_the_steps_fall_to_nothing() -> None:
    assert [rate(since, 4) for since in (-9, 0, 1, 2, 3, 4)] == pytest.approx([1, 1, 0.8535534, 0.5, 0.1464466, 0])
    assert [falling(updates, 1) for updates in (1, 2, 5, 100, 128, 129, 1000)] == [1, 1, 2, 25, 32, 32, 32]
    assert falling(4096, 4) == 128


def test_the_rate_of_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *given: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    found = patterns(tiny("in-place"), "class:ash", steps=8, seeds=1, lr=0.2, until="steps")
    assert rates == pytest.approx([0.2] * 7 + [0.1])
    assert found.scores[0].steps == 8


@pytest.mark.parametrize("contrast", [0.0, 0.5, 1.5])
def test_no_pattern_has_more_contrast_than_it_may(contrast: float) -> None:
    model = tiny("in-place")
    found = patterns(model, "class:ash", steps=60, seeds=1, contrast=contrast, lr=1.0).images[0]
    space = Space(model.input.shape, PHOTOGRAPHS)
    planes = torch.fft.irfft2(space.coefficients(found) * space.scale, s=found.shape[1:], norm="ortho")
    strength = float(planes.square().mean().sqrt())
    if contrast:
        assert strength == pytest.approx(contrast, rel=0.05)
    else:
        assert strength > 2


def test_images_that_are_given_say_what_contrast_is_natural() -> None:
    model = tiny("in-place")
    black = torch.zeros(model.input.shape)
    black[:, ::2] = 1
    given = as_image(black.permute(1, 2, 0).numpy())
    for settings in ({"init": given}, {"reference": given}):
        assert patterns(model, "class:ash", steps=1, seeds=1, **settings).settings["contrast"] == 0
    assert patterns(model, "class:ash", steps=1, seeds=1).settings["contrast"] == 1.5


def test_silence_is_no_end_until_it_was_given_its_time() -> None:
    silent = slot(0.0, 0.0, 0.0, age=FIRST + 2 * LONGER)
    silent.trace = list(torch.zeros(silent.age))
    assert not optimizer._settled(silent)
    # What has not risen at all goes on to its last step.
    silent.longer = True
    assert not optimizer._settled(silent)
    # It spoke long ago, and had its time since.
    silent.trace[WAKING] = torch.tensor(1.0)
    silent.trace[0] = torch.tensor(-1.0)
    assert optimizer._settled(silent)
    silent.longer = False
    assert not optimizer._settled(silent)
    spoken = slot(0.0, 0.0, 0.0, age=FIRST + 2 * LONGER)
    spoken.trace = list(torch.zeros(spoken.age))
    spoken.trace[-1] = torch.tensor(-1e-9)
    assert optimizer._settled(spoken)


@pytest.mark.parametrize("shape", [(8, 8), (8, 9), (7, 8), (7, 9), (16, 4), (16, 5), (5, 3), (6, 2)])
@pytest.mark.parametrize("slopes", [(0.0, 0.0, 0.0), PHOTOGRAPHS.slopes])
def test_coefficients_of_variance_1_are_those_of_planes_of_variance_1(
    shape: tuple[int, int], slopes: tuple[float, ...]
) -> None:
    height, width = shape
    scale = Space((3, height, width), Statistics(PHOTOGRAPHS.mean, PHOTOGRAPHS.axes, slopes)).scale.double().numpy()
    for channel, slope in enumerate(slopes):
        total = 0.0
        # All frequencies of the image, each once: a mirrored one has the weight of its column.
        for fy in np.fft.fftfreq(height):
            for column in range(width):
                row = round(fy * height) % height
                total += 2 * scale[channel, row, min(column, width - column)] ** 2 / (height * width)
        assert total == pytest.approx(1, abs=1e-5)
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        wanted = np.maximum(frequency, 1 / max(height, width)) ** -slope
        assert np.allclose(scale[channel] / scale[channel, 0, 0], wanted / wanted[0, 0], rtol=1e-5)


@pytest.mark.parametrize("width", [8, 9])
def test_an_image_is_written_and_read_back(width: int) -> None:
    space, generator = Space((3, 6, width), PHOTOGRAPHS), torch.Generator().manual_seed(1)
    pixels = torch.rand((3, 6, width), generator=generator) * 0.9 + 0.05
    assert torch.allclose(space.pixels(space.coefficients(pixels)[None])[0], pixels, atol=1e-5)


def test_seeds_agree_where_they_change_the_other_units_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    begun, ended = ([torch.randn(6, 2, generator=generator) for _ in range(3)] for _ in "ab")
    (objective,) = resolve(tiny("in-place"), "relu2:2")
    change = [(after[:, 0] - before[:, 0]).double().numpy() for before, after in zip(begun, ended, strict=True)]
    others = [np.delete(one, 2) for one in change]
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for i, a in enumerate(others) for b in others[i + 1 :]
    ]
    assert len(cosines) == 3
    assert _agreement(objective, begun, ended) == pytest.approx(np.mean(cosines), abs=1e-5)
    assert _agreement(objective, begun[:1], ended[:1]) is None


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_slopes_are_fitted_up_to_a_quarter_cycle(size: tuple[int, int]) -> None:
    frequency = frequencies(*size).clamp(min=1e-3)
    # Beyond a quarter cycle an image of a camera falls in another way, which must not count.
    amplitude = torch.stack([frequency**-1.3, 5 * frequency**-0.7]).where(frequency <= 0.25, 100.0)
    assert _slopes(amplitude) == pytest.approx((1.3, 0.7), abs=0.03)


def test_a_caricature_is_the_dot_product_times_the_cosine_a_tenth_at_least() -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(2, 3, 4, 5, generator=generator)
    for aim in (theirs[0], 0.15 * theirs[0] + theirs[1], theirs[0].roll(2, 2), -theirs[0]):
        rows = Rows(tiny("in-place"), torch.tensor([1]), torch.tensor([0]), (), (theirs[0],), peak=False)
        read = objectives["caricature"](rows)
        own, other = (one.flatten().double().numpy() for one in (aim, theirs[0]))
        cosine = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
        wanted = own @ other / own.size * max(cosine, 0.1)
        assert float(read(torch.stack([torch.zeros_like(aim), aim]))) == pytest.approx(wanted, rel=1e-4)


def test_importance_is_the_mean_gradient_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[torch.Tensor] = []
    original = PatternOptimizer._gradients

    def record(self: PatternOptimizer, part: Any) -> Any:
        found = original(self, part)
        recorded.append(found[1].detach().clone())
        return found

    monkeypatch.setattr(PatternOptimizer, "_gradients", record)
    found = patterns(tiny("in-place"), ["relu2:0", "relu2:3"], steps=10, seeds=1, until="steps")
    assert len(recorded) == 10
    total = np.zeros(found.importance.shape)
    for gradients in recorded:
        for image in range(2):
            for y in range(total.shape[1]):
                for x in range(total.shape[2]):
                    total[image, y, x] += sum(abs(float(v)) for v in gradients[image, :, y, x]) / 3
    for image in range(2):
        wanted = total[image] / total[image].max()
        assert found.importance[image].numpy() == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert found.importance.amax((1, 2)).tolist() == [1.0, 1.0]
    # Channels and steps of either sign count, each for itself.
    assert bool((recorded[0] > 0).any())
    assert bool((recorded[0] < 0).any())


def test_importance_of_a_linear_unit_is_its_weights() -> None:
    model = tiny("in-place")
    weights = torch.zeros(2, 3, *model.input.shape[1:])
    weights[0, 0, 1, 1], weights[0, 1, 1, 1], weights[0, 2, 4, 2] = 1.0, -1.0, -4.0
    weights[1, 0, 2, 5] = 1.0
    conv = nn.Conv2d(3, 2, model.input.shape[1:], bias=False)
    conv.weight.data.copy_(weights * torch.tensor(model.input.std)[:, None, None])
    net = nn.Sequential(nn.Sequential(conv), nn.Flatten(), nn.Linear(2, len(model.labels)))
    linear = load(net, input=model.input, labels=model.labels)
    still = Views(shift=0, zoom=0, rotate=0)
    found = patterns(linear, ["0.0:0", "0.0:1"], steps=4, seeds=1, views=still, until="steps", parameterize="pixels")
    wanted = torch.zeros(found.importance.shape)
    wanted[0, 1, 1], wanted[0, 4, 2], wanted[1, 2, 5] = 0.5, 1.0, 1.0
    assert torch.allclose(found.importance, wanted, atol=1e-5)
