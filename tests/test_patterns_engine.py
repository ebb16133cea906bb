"""Slots, windows, memory, what is kept, and the scores: what happens around the optimizer."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from networks import image, tiny
from torch import nn
from torch.nn import functional as F

from innersight import tap
from innersight.activations import activations
from innersight.errors import InnersightError
from innersight.image import Image, as_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.patterns import (
    PatternOptions,
    PatternProgress,
    Statistics,
    Views,
    estimate,
    parameterizations,
    patterns,
)
from innersight.patterns import engine as engine_module
from innersight.patterns.batching import bytes_of
from innersight.patterns.jobs import PatternJob, Recipe
from innersight.patterns.objectives import resolve
from innersight.patterns.objectives.direction import along
from innersight.patterns.optimizer import PatternOptimizer
from innersight.patterns.parameterize import measure_statistics, photograph_statistics
from innersight.patterns.responses import threads, whole
from innersight.patterns.schedule import WAKING
from innersight.patterns.score import NOISY, grain
from innersight.patterns.views import draw


def recipe(model: Model, steps: int = 6, until: str = "steps") -> Recipe:
    statistics = photograph_statistics(model.input.channels)
    return Recipe(model.input.shape, PatternOptions(steps=steps, statistics=statistics, until=until))


def jobs(model: Model, *texts: str) -> list[PatternJob]:
    return [PatternJob(one, one, 0) for text in texts for one in resolve(model, text)]


# PatternOptimizer


def test_a_finished_image_leaves_and_the_next_takes_its_place() -> None:
    model = tiny("in-place")
    with tap.untouched(model):
        alone = {
            str(one.job.objective): one.pixels
            for one in PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 16, 16).run()
        }
        rows: list[int] = []
        slots = PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 2, 2)
        found = {
            str(one.job.objective): one.pixels for one in slots.run(lambda state: rows.append(len(state.images())))
        }
    assert max(rows) == 2
    # Four batches, each looked at when its steps begin to fall and at its end.
    assert len(rows) == 8
    assert all(torch.equal(found[name], alone[name]) for name in alone)


def test_one_that_stops_rising_leaves_before_the_others() -> None:
    model = tiny("in-place")
    found = patterns(model, ["relu2:0", "relu2:1", "class:0"], steps=400, seeds=1)
    quick, slow = sorted(found.scores, key=lambda score: score.steps)[::2]
    assert 96 <= quick.steps < slow.steps < 400
    assert quick.converged
    assert slow.converged
    assert "unconverged" in patterns(model, "relu2:5", steps=8, seeds=1).scores[0].flags
    # Made to go on, it had stopped rising all the same.
    assert patterns(model, "relu2:5", steps=slow.steps, seeds=1, until="steps").scores[0].converged


def test_the_looks_of_others_do_not_say_when_a_unit_is_silent() -> None:
    model = tiny("in-place")
    with tap.untouched(model):
        slots = PatternOptimizer(model, jobs(model, "conv2:0"), recipe(model, 200), {}, 2, 2)
        slots.fill()
        (slot,) = slots._running[0][1]
        # It spoke last at its own look, and another image comes to its end soon after.
        slot.trace = [torch.tensor(1.0)] * 36 + [torch.tensor(0.0)] * 18
        slot.age = 54
        list(slots._parts())
        assert not slot.longer
        slot.trace += [torch.tensor(0.0)] * 10
        slot.age = 64
        list(slots._parts())
        assert slot.longer


def test_a_batch_in_parts_gives_the_same_images() -> None:
    model = tiny("in-place")
    with tap.untouched(model):
        whole_, parts = (
            {
                str(one.job.objective): one.pixels
                for one in PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 8, share).run()
            }
            for share in (whole(8), threads())
        )
    assert all(torch.equal(parts[name], whole_[name]) for name in whole_)


def test_without_memory_the_batch_is_halved_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("in-place")
    with tap.untouched(model):
        expected = {
            str(o.job.objective): o.pixels
            for o in PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 8, 8).run()
        }
    forward, seen = model.net.conv2.forward, []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        if len(x) > whole(4):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    monkeypatch.setattr(model.net.conv2, "forward", scarce)
    with tap.untouched(model):
        slots = PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 8, whole(8))
        found = {str(one.job.objective): one.pixels for one in slots.run()}
    if whole(4) < whole(8):
        assert max(seen) == whole(8)
        assert slots.share == whole(4)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    monkeypatch.setattr(model.net.conv2, "forward", lambda x: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with tap.untouched(model), pytest.raises(torch.OutOfMemoryError):
        list(PatternOptimizer(model, jobs(model, "conv2"), recipe(model), {}, 8, 8).run())


def test_gradients_that_are_no_numbers_move_nothing() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[3] = torch.nan
    # Backwards a weight that is no number spoils every gradient that passes its layer, other units' too.
    found = patterns(model, "conv2:2,3", steps=6, seeds=1)
    assert torch.isfinite(found.images).all()
    assert found.scores[0].flags[0] == "stuck"
    assert math.isnan(found.scores[1].activation)
    assert found.scores[1].flags == ("not a number",)


def test_half_precision_reaches_nearly_as_far() -> None:
    model = tiny("in-place")
    full, half = (patterns(model, "relu2:1-3", steps=40, seeds=1, precision=p) for p in ("float32", "bfloat16"))
    for one, other in zip(full.scores, half.scores, strict=True):
        assert other.activation > one.start + 0.8 * (one.activation - one.start)


def test_compiled_passes_draw_the_same() -> None:
    model = tiny("in-place")
    options = {"steps": 24, "seeds": 1, "until": "steps"}
    plain, compiled = (patterns(model, ["conv2:1-3", "class:ash"], **options, compile=c) for c in (False, "aot_eager"))
    assert torch.allclose(plain.images, compiled.images, atol=0.02)
    alone = patterns(model, "conv2:2", **options, compile="aot_eager")
    assert alone.scores[0].activation == pytest.approx(compiled.scores[1].activation, rel=1e-2)


def test_what_depends_on_values_is_not_compiled() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            y = y * 2 if float(y.detach().mean()) > 0 else y
            return self.head(y.mean((2, 3)))

    model = Model(Branches().eval(), InputSpec(16, 16), ("a", "b"), "branches", "a test")
    patterns(model, "class:a", steps=2, seeds=1)
    with pytest.raises(InnersightError, match=r"branches cannot be compiled .*omit compile"):
        patterns(model, "class:a", steps=40, seeds=1, compile="aot_eager")
    with pytest.raises(InnersightError, match="compile='quick' is no backend"):
        patterns(model, "class:a", steps=2, seeds=1, compile="quick")


# Windows


def test_crops_show_a_part_and_stay_inside() -> None:
    draws = draw(Views(shift=0, zoom=0, rotate=0, crop=0.25), torch.Generator().manual_seed(0), 500)
    sides = 1 / draws[:, 2]
    assert 0.25 <= sides.min() < 0.3
    assert 0.95 < sides.max() <= 1
    assert ((draws[:, :2].abs() + sides[:, None]) <= 1 + 1e-5).all()


@pytest.mark.parametrize("views", [Views(noise=0.1), Views(crop=0.3), Views(pad="zeros"), Views(pad="border")])
def test_every_view_draws_and_repeats(views: Views) -> None:
    model = tiny("in-place")
    alone = patterns(model, "conv2:2", steps=12, seeds=1, views=views)
    company = patterns(model, "conv2:0-3", steps=12, seeds=1, views=views)
    assert torch.equal(alone.images[0], company.images[2])
    assert alone.scores[0].activation > alone.scores[0].start


@pytest.mark.parametrize(
    ("options", "why"), [({"pad": "mirror"}, "pad='mirror'"), ({"crop": 0}, "crop above 0"), ({"noise": -1}, "noise")]
)
def test_views_that_make_no_sense(options: dict, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        Views(**options)


# What is kept


def test_a_run_that_was_ended_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model, options = tiny("in-place"), {"steps": 20, "until": "steps", "seeds": 1}
    expected = patterns(model, "conv2", **options)

    def stop(state: PatternProgress) -> None:
        if state.done >= 3:
            raise KeyboardInterrupt

    # Two images at a time, so that some are finished when it is ended.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "batch_of", lambda *_: (2, 2))
        with pytest.raises(KeyboardInterrupt):
            patterns(model, "conv2", **options, keep=tmp_path, progress=stop)
    finished = len(list(tmp_path.glob("*.safetensors")))
    assert 3 <= finished < 8
    seen: list[int] = []
    found = patterns(model, "conv2", **options, keep=tmp_path, progress=lambda state: seen.append(state.done))
    assert seen[0] == finished
    assert torch.equal(found.images, expected.images)
    assert found.scores == expected.scores
    assert not list(tmp_path.glob(".innersight-*"))


def test_what_is_kept_of_other_settings_or_weights_is_not_taken(tmp_path: Path) -> None:
    model = tiny("in-place")
    patterns(model, "conv2:1", steps=3, seeds=1, keep=tmp_path)
    same_name = replace(image(2), name=image(1).name)
    for change in ({"steps": 4}, {"parameterize": "pixels"}, {"init": image(1)}, {"init": same_name}):
        before = len(list(tmp_path.iterdir()))
        patterns(model, "conv2:1", **{"steps": 3, "seeds": 1, "keep": tmp_path, **change})
        assert len(list(tmp_path.iterdir())) == before + 1
    with torch.no_grad():
        model.net.conv1.weight.mul_(1.1)
    patterns(model, "conv2:1", steps=3, seeds=1, keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == before + 2


def test_directions_of_one_layer_are_kept_apart(tmp_path: Path) -> None:
    model = tiny("in-place")
    one, other = (along("conv2", torch.eye(8)[i]) for i in (1, 5))
    options = {"steps": 6, "seeds": 1, "keep": tmp_path}
    first, second = (patterns(model, what, **options).images for what in (one, other))
    assert not torch.equal(first, second)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_drawn_again(tmp_path: Path) -> None:
    model = tiny("in-place")
    first = patterns(model, "conv2:1", steps=3, seeds=1, keep=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(patterns(model, "conv2:1", steps=3, seeds=1, keep=tmp_path).images, first.images)


# Scores


def test_natural_maximum_and_percentile() -> None:
    model, images = tiny("in-place"), [image(i) for i in range(1, 20)]
    found = patterns(model, ["relu2:1", "class:ash", "-conv2:3"], steps=2, seeds=1, images=images)
    places = activations(model, images, ["relu2"]).values["relu2"][:, 1].flatten().sort(descending=True).values
    score = found.scores[0]
    assert score.natural == pytest.approx(float(places[0]), abs=1e-5)
    assert score.p999 == pytest.approx(float(places[len(places) // 1000]), abs=1e-5)
    with tap.untouched(model), torch.no_grad():
        logits = model.logits(stack(images, model.input))[:, 0]
    assert found.scores[1].natural == pytest.approx(float(logits.max()), abs=1e-5)
    lowest = activations(model, images, ["conv2"]).values["conv2"][:, 3].min()
    assert found.scores[2].natural == pytest.approx(-float(lowest), abs=1e-5)


def test_seeds_are_compared_and_the_strongest_is_shown() -> None:
    model = tiny("in-place")
    found = patterns(model, "relu2:1-3", steps=12, seeds=3)
    assert found.every.shape == (3, 3, 3, 24, 24)
    for i, score in enumerate(found.scores):
        single = [
            patterns(model, f"relu2:{i + 1}", steps=12, seeds=1, seed=seed).scores[0].activation for seed in range(3)
        ]
        assert score.activation == pytest.approx(max(single), abs=1e-5)
        assert score.agreement is not None
        assert -1 <= score.agreement <= 1
        assert torch.equal(found.images[i], found.every[i][single.index(max(single))])
    assert patterns(model, "relu2:1", steps=2, seeds=1).scores[0].agreement is None


def test_grain_of_noise_and_of_a_slope() -> None:
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    slope = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert float(grain(noise)) == pytest.approx(1 - math.pi / 16, abs=0.05)
    assert float(grain(slope)) < 0.05 < NOISY < float(grain(noise))


def test_flags_of_a_score() -> None:
    score = patterns(tiny("in-place"), "conv2:1", steps=2, seeds=1).scores[0]
    plain = replace(score, activation=3.0, start=1.0, held=2.9, grain=0.1, converged=True, still=False)
    assert plain.flags == ()
    assert replace(plain, held=1.0).flags == ("fragile",)
    assert replace(plain, held=1.5).flags == ()
    assert replace(plain, held=1.49).flags == ("fragile",)
    assert replace(plain, grain=0.7).flags == replace(plain, grain=0.41).flags == ("noisy",)
    assert replace(plain, grain=0.4).flags == ()
    assert replace(plain, natural=3.0).flags == ()
    assert replace(plain, still=True).flags == ("saturated",)
    assert replace(plain, activation=1.0, held=1.0).flags == ("stuck",)
    assert replace(plain, natural=4.0).flags == ("below natural",)
    assert replace(plain, natural=1.5, p999=1.0).ratio == 2
    assert replace(plain, natural=1.5, p999=1.0).p999_ratio == 3


def test_examples_are_the_parts_that_excite_most() -> None:
    model = tiny("in-place")
    dark = Image(as_image(torch.zeros(24, 24, 3, dtype=torch.uint8).numpy()).pil, "dark")
    bright = torch.zeros(24, 24, 3, dtype=torch.uint8)
    bright[4:8, 14:18] = 255
    spot = as_image(bright.numpy(), name="spot")
    with torch.no_grad():
        model.net.conv1.weight[2] = 1.0
    found = patterns(model, "conv1:2", steps=1, seeds=1, images=[dark, spot])
    assert found.examples.shape == (1, 2, 3, 24, 24)
    # The crop is taken from around the spot, which fills much of it.
    assert found.examples[0, 0].mean() > 0.1
    assert found.examples[0, 1].mean() < 0.01


def test_examples_of_what_switches_off_are_those_that_excite_least() -> None:
    model, images = tiny("in-place"), [image(i) for i in range(1, 6)]
    on, off = (patterns(model, what, steps=1, seeds=1, images=images).examples for what in ("class:ash", "-class:ash"))
    with tap.untouched(model), torch.no_grad():
        logits = model.logits(stack(images, model.input))[:, 0]
    pixels = model.input.denormalise(stack(images, model.input))
    assert torch.allclose(on[0, 0], pixels[int(logits.argmax())].clamp(0, 1), atol=1e-5)
    assert torch.allclose(off[0, 0], pixels[int(logits.argmin())].clamp(0, 1), atol=1e-5)


# Statistics and parameterizations


@pytest.mark.parametrize("name", ["fourier", "pixels"])
def test_an_image_can_be_written_and_read_back(name: str) -> None:
    pixels = F.avg_pool2d(torch.rand(1, 3, 26, 34, generator=torch.Generator().manual_seed(1)), 3)[0]
    form = parameterizations[name](tuple(pixels.shape), photograph_statistics(3))
    assert torch.allclose(form.decode(form.encode(pixels)[None])[0], pixels.clamp(0.02, 0.98), atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 17, 33), (1, 24, 30), (5, 16, 16)])
def test_natural_coefficients_make_natural_contrast(shape: tuple[int, int, int]) -> None:
    statistics = photograph_statistics(shape[0])
    form = parameterizations["maco"](shape, statistics)
    pixels = form.decode(torch.stack([form.start(torch.Generator().manual_seed(i)) for i in range(40)]))
    wanted = sum(v * v for axis in statistics.axes for v in axis) / shape[0]
    # The sigmoid squeezes what is far from grey.
    assert 0.5 * wanted < float(pixels.var((0, 2, 3)).mean()) < 1.1 * wanted


def test_statistics_are_found_again() -> None:
    known = Statistics(
        (0.5, 0.5, 0.5), ((0.06, 0.05, 0.04), (0.0, -0.02, 0.025), (0.01, -0.008, -0.005)), (1.4, 1.1, 0.8)
    )
    form = parameterizations["maco"]((3, 96, 96), known)
    drawn = form.decode(torch.stack([form.start(torch.Generator().manual_seed(i)) for i in range(12)]))
    arrays = [as_image(image.permute(1, 2, 0).contiguous().numpy(), name=str(i)) for i, image in enumerate(drawn)]
    found = measure_statistics(arrays, InputSpec(96, 96))
    assert found.mean == pytest.approx(known.mean, abs=0.02)
    assert found.slopes[0] == pytest.approx(1.4, abs=0.12)
    assert found.slopes[0] > found.slopes[1] > found.slopes[2]
    assert found.axes[0] == pytest.approx(known.axes[0], rel=0.15)


def test_statistics_of_ones_own_images_are_used() -> None:
    model = tiny("in-place")
    own = patterns(model, "conv2:1", steps=2, seeds=1, images=[image(1), image(2)], statistics="images")
    assert own.settings["statistics"] != patterns(model, "conv2:1", steps=2, seeds=1).settings["statistics"]


# Cost


def test_the_estimate_counts_and_measures() -> None:
    model = tiny("in-place")
    found = estimate(model, ["conv1", "class:ash"], steps=10, seeds=2, negatives=True)
    assert (found.objectives, found.images) == (7, 28)
    assert found.seconds > 0
    assert "7 objectives, 28 images:" in str(found)
    longer = estimate(model, ["conv1", "class:ash"], steps=100_000, seeds=2)
    assert longer.seconds > 100 * found.seconds


def test_the_estimate_is_the_time_of_one_update_times_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    original = PatternOptimizer._gradients

    def counted(self: PatternOptimizer, part: Any) -> Any:
        passes.append(1)
        return original(self, part)

    monkeypatch.setattr(PatternOptimizer, "_gradients", counted)
    monkeypatch.setattr(engine_module, "time", SimpleNamespace(perf_counter=lambda: float(len(passes))))
    # Every update takes one second of this clock, and nothing else takes any.
    assert estimate(tiny("in-place"), "class:ash", steps=10, seeds=1).seconds == 10
    assert len(passes) == 3


def test_the_estimate_refuses_what_patterns_would_refuse() -> None:
    with pytest.raises(InnersightError, match=r"estimate has no option 'stepps'; did you mean steps"):
        estimate(tiny("in-place"), "conv1", stepps=10)
    with pytest.raises(InnersightError, match="seeds=0"):
        estimate(tiny("in-place"), "conv1", seeds=0)


def test_the_batch_is_measured_by_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PatternJob] = []

    def noted(_model: Model, queue: list[PatternJob], *_: object) -> tuple[int, int]:
        seen.append(queue[-1])
        return 16, 16

    monkeypatch.setattr(engine_module, "batch_of", noted)
    patterns(tiny("in-place"), ["conv1:1", "conv2:1@5,5"], steps=1, seeds=1, size=48)
    assert str(seen[0].objective) == "conv1:1"


def test_memory_grows_with_the_size() -> None:
    model = tiny("in-place")
    job = jobs(model, "conv2:1")[0]
    with tap.untouched(model):
        small = bytes_of(model, job, recipe(model), {})
        large = bytes_of(model, job, replace(recipe(model), shape=(3, 48, 48)), {})
    assert small > 24 * 24 * 3 * 4
    assert 3.5 < large / small < 4.5


def test_frozen_norms_are_products_and_sums() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5).eval()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 5, 4, 4, requires_grad=True)
    with tap.fold_batchnorm():
        found = norm(x)
        bare = F.batch_norm(x, norm.running_mean, norm.running_var)
        live = F.batch_norm(x, None, None, training=True)
    assert torch.allclose(found, norm(x), atol=1e-5)
    assert "Addcmul" in type(found.grad_fn).__name__
    assert torch.allclose(bare, F.batch_norm(x, norm.running_mean, norm.running_var), atol=1e-5)
    assert torch.equal(live, F.batch_norm(x, None, None, training=True))


def test_waking_ends() -> None:
    model = tiny("in-place")
    with tap.untouched(model):
        slots = PatternOptimizer(model, jobs(model, "relu2:1"), recipe(model, steps=2 * WAKING), {}, 2, 2)
        looks: list[bool] = []
        list(slots.run(lambda _: looks.append(True)))
    # At 16 of 32 updates, when the steps begin to fall, and at the end.
    assert len(looks) == 3
