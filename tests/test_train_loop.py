"""What one step, one epoch and one choice of the loop are, each against its definition."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from torch import Tensor, nn
from torch.nn import functional

from innersight.input_spec import InputSpec
from innersight.train import Telemetry, data, loop, recording, session
from innersight.train.answers import score, tally
from innersight.train.augment import Augmentation, augment
from innersight.train.card import measured
from innersight.train.epochs import Keeper
from innersight.train.loop import Learner, Task, learning_rate
from innersight.train.options import TrainOptions
from innersight.train.robust import hardest

SPEC = InputSpec(6, 5, fit="squash")


def network() -> nn.Module:
    torch.manual_seed(1)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(stem, nn.Flatten(), nn.Linear(120, 3))


def images(count: int = 7) -> data.TrainingImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3)).astype(np.uint8)
    targets = np.arange(count) % 3
    return data.TrainingImages(tuple("abc"), pixels, np.arange(count), targets, tuple(map(str, range(count))), ())


def task(**options: Any) -> Task:
    given: dict[str, Any] = {
        "net": network(), "spec": SPEC, "images": images(), "training": np.arange(5), "judges": images(),
        "held_out": np.arange(5, 7), "weights": torch.tensor([0.5, 1.0, 2.0]), "epochs": 4, "lr": 0.1,
        "fine": True, "options": TrainOptions(batch=2, patience=3, seed=5, telemetry_every=2), "arguments": {},
    }  # fmt: skip
    return Task(**{**given, **options})


@pytest.mark.parametrize("steps", [1, 2, 10, 100, 101])
def test_the_rate_rises_for_a_fifth_and_falls_as_half_a_cosine(steps: int) -> None:
    rates = [learning_rate(step, steps, peak=3.0) for step in range(steps)]
    assert rates[0] == pytest.approx(3 / 25)
    warm = max(1, steps / 5)
    for step, rate in enumerate(rates):
        if step < warm:
            assert rate == pytest.approx(3 * (1 / 25 + (1 - 1 / 25) * step / warm))
        else:
            share = (step - warm) / max(1, steps - warm)
            assert rate == pytest.approx(3 * (0.5 + 0.5 * np.cos(np.pi * share)))
    assert max(rates) <= 3
    assert learning_rate(steps, steps, peak=3.0) == pytest.approx(0, abs=1e-9) or steps == 1


def test_a_new_head_learns_ten_times_as_fast_and_vectors_do_not_decay() -> None:
    made = task()
    groups = Learner(made, bool).configure_optimizers().param_groups
    names = {id(p): name for name, p in made.net.named_parameters()}
    found = {names[id(p)]: (group["weight_decay"], group["scale"]) for group in groups for p in group["params"]}
    assert found == {
        "0.0.weight": (0.05, 1), "0.0.bias": (0, 1), "0.1.weight": (0, 1), "0.1.bias": (0, 1),
        "2.weight": (0.05, 10), "2.bias": (0, 10),
    }  # fmt: skip
    scratch = Learner(task(fine=False), bool).configure_optimizers().param_groups
    assert {group["scale"] for group in scratch} == {1}
    assert {group["betas"] for group in scratch} == {(0.9, 0.99)}
    assert {group["lr"] for group in scratch} == {0.1}


@pytest.mark.parametrize("robust", [0.0, 2.0])
def test_the_loss_is_weighed_and_smoothed_by_a_tenth(monkeypatch: pytest.MonkeyPatch, robust: float) -> None:
    made = task(options=TrainOptions(batch=2, patience=3, seed=5, robust=robust))
    # Its batch norm has seen nothing yet: the changes of a step are looked for in evaluation mode.
    net = copy.deepcopy(made.net).train()
    made.net.train()
    learner = Learner(made, bool)
    learner._weights, learner._steps_per_epoch = made.weights, 3
    monkeypatch.setattr(Learner, "current_epoch", 1)
    monkeypatch.setattr(Learner, "global_rank", 0)
    monkeypatch.setattr(Learner, "global_step", 5)
    pixels, targets = torch.from_numpy(made.images.pixels[:4]), torch.tensor([0, 1, 2, 2])
    found = learner.training_step((pixels, targets), 2)
    generators = [torch.Generator().manual_seed(loop._number(5, 1, 0, purpose, 2)) for purpose in (2, 3)]
    x = augment(pixels.permute(0, 3, 1, 2).float() / 255, generators[0])
    if robust:
        x = hardest(net, SPEC, x, targets, 2.0 * min(1, 0.2 + 1.6 * 5 / 12), generators[1])
    log = functional.log_softmax(net(SPEC.normalise(x)).double(), 1).detach()
    weights = made.weights.double()
    wanted = torch.full((4, 3), 0.1 / 3, dtype=torch.float64)
    wanted[torch.arange(4), targets] += 0.9
    loss = -(wanted * weights * log).sum() / weights[targets].sum()
    assert float(found["loss"].detach()) == pytest.approx(float(loss), rel=1e-4)
    assert float(found["accuracy"]) == float((log.argmax(1) == targets).float().mean())


def test_the_best_epoch_is_the_most_accurate_and_of_equals_that_of_the_lower_loss(tmp_path: Path) -> None:
    reached = loop.Progression()
    learner = SimpleNamespace(check_finite=bool, reached=reached, net=network())
    chosen = []
    keeper = Keeper(tmp_path, bool, every_epoch=False, first=0)  # type: ignore[arg-type]
    results = [(0.5, 1.0), (0.5, 1.0), (0.5, 0.9), (0.5, 0.95), (0.6, 2.0), (0.59, 0.1), (0.6, 2.0), (0.6, 1.9)]
    for epoch, (accuracy, loss) in enumerate(results):
        trainer = SimpleNamespace(
            callback_metrics={"val/accuracy": accuracy, "val/loss": loss}, current_epoch=epoch, max_epochs=9,
            is_global_zero=True, save_checkpoint=lambda path: Path(path).write_bytes(b"x"),
        )  # fmt: skip
        keeper.on_train_epoch_end(trainer, learner)
        chosen.append(reached.best["epoch"])
    assert chosen == [1, 1, 3, 3, 5, 5, 5, 8]
    assert reached.epochs == 8
    assert reached.best == {"epoch": 8, "accuracy": 0.6, "loss": 1.9}
    assert {p.name for p in tmp_path.iterdir()} == {"best.safetensors", "last.ckpt"}


@pytest.mark.parametrize(
    ("images", "scratch", "fine"), [(10, 60, 10), (1_400, 57, 10), (4_000, 20, 5), (8_000, 12, 4), (10**6, 12, 4)]
)
def test_epochs_show_eighty_thousand_images_or_with_learned_weights_twenty(
    images: int, scratch: int, fine: int
) -> None:
    assert session._epochs(images, False) == scratch
    assert session._epochs(images, True) == fine


def test_confusions_have_the_truth_in_rows() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.one_hot(torch.tensor([1, 1, 2, 0, 2]), 3).float() * 4

    sums = tally(Fixed(), SPEC, torch.zeros(5, 6, 5, 3, dtype=torch.uint8), torch.tensor([0, 1, 1, 2, -1]))
    assert sums[:, :3].tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    losses = functional.cross_entropy(
        Fixed()(torch.zeros(5, 3, 6, 5))[:4], torch.tensor([0, 1, 1, 2]), reduction="none"
    )
    assert sums[:, 3].tolist() == pytest.approx([float(losses[0]), float(losses[1] + losses[2]), float(losses[3])])
    accuracy, loss = score(sums)
    assert accuracy == 0.25
    assert loss == pytest.approx(float(losses.mean()))
    found = measured(sums, tuple("abc"))
    assert found["per_class"]["b"] == {"images": 2, "precision": 0.5, "recall": 0.5}
    assert found["per_class"]["a"] == {"images": 1, "precision": 0.0, "recall": 0.0}
    assert found["per_class"]["c"] == {"images": 1, "precision": 0.0, "recall": 0.0}
    assert found["confusion"] == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    skewed = measured(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 0.0]]), ("a", "b"))
    assert skewed["per_class"]["a"] == {"images": 4, "precision": 1.0, "recall": 0.75}
    assert skewed["per_class"]["b"] == {"images": 2, "precision": round(2 / 3, 4), "recall": 1.0}


def moved(how: Augmentation, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A smooth image, bright to the right and more so below, and it turned, stretched or recoloured."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    image = torch.stack([0.5 + 0.2 * x, 0.5 + 0.2 * y, 0.5 + 0.1 * x * y])[None]
    return image, augment(image, torch.Generator().manual_seed(3), how)


def still(**changes: float) -> Augmentation:
    return Augmentation(**{**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0), **changes})


@pytest.mark.parametrize(("height", "width"), [(61, 61), (41, 81)])
def test_a_turn_is_a_turn_and_a_stretch_keeps_the_area(height: int, width: int) -> None:
    draw = torch.rand((6, 1), generator=torch.Generator().manual_seed(3)) * 2 - 1
    centre = (slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3))
    _, after = moved(still(rotate=20.0), height, width)
    angle = torch.deg2rad(20 * draw[3])
    # In pixels: a place shows what lies turned about the middle.
    y, x = torch.meshgrid(torch.arange(height) - height / 2 + 0.5, torch.arange(width) - width / 2 + 0.5, indexing="ij")
    sx, sy = angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y
    wanted = torch.stack([0.5 + 0.2 * sx / (width / 2 - 0.5), 0.5 + 0.2 * sy / (height / 2 - 0.5)])
    assert torch.allclose(after[0, :2][:, *centre], wanted[:, *centre], atol=5e-3)
    _, after = moved(still(aspect=0.4), height, width)
    stretch = (0.4 * draw[2]).exp().sqrt()
    wanted = torch.stack([0.5 + 0.2 * stretch * x / (width / 2 - 0.5), 0.5 + 0.2 / stretch * y / (height / 2 - 0.5)])
    assert torch.allclose(after[0, :2][:, *centre], wanted[:, *centre], atol=5e-3)


def test_colours_change_about_grey_and_the_mean() -> None:
    draw = torch.rand((6, 1), generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    torch.rand((6, 1), generator=generator)
    saturation, contrast, brightness = (torch.rand((3, 1), generator=generator) * 2 - 1)[:, 0]
    assert draw.shape == (6, 1)
    image, _ = moved(still(), 9, 9)
    grey = image.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    for how, wanted in (
        (still(saturation=0.3), grey + (image - grey) * (1 + 0.3 * saturation)),
        (still(contrast=0.3), mean + (image - mean) * (1 + 0.3 * contrast)),
        (still(brightness=0.3), image * (1 + 0.3 * brightness)),
        (
            still(contrast=0.3, brightness=0.3),
            (mean + (image - mean) * (1 + 0.3 * contrast)) * (1 + 0.3 * brightness),
        ),
    ):
        found = augment(image, torch.Generator().manual_seed(3), how)
        assert torch.allclose(found, wanted, atol=1e-3), how


def test_training_drops_the_ragged_end_and_judging_does_not() -> None:
    for count, size, full, all_ in ((7, 2, 3, 4), (6, 2, 3, 3), (1, 4, 1, 1), (9, 4, 2, 3)):
        learn = data.Batches(images(count), np.arange(count), size=size, epoch=lambda: 0)
        judge = data.Batches(images(count), np.arange(count), size=size)
        assert (len(learn), len(judge)) == (full, all_)
        assert sum(len(targets) for _, targets in judge) == count


def test_scalars_beyond_the_limit_are_means_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_POINTS", 6)
    recorder = Telemetry(tiny("in-place").net, every=100)
    for step in range(1, 7):
        recorder.step(float(step))
    assert recorder.data()["scalars"]["train/loss"] == {"step": [1, 2, 3, 4, 5, 6], "value": [1, 2, 3, 4, 5, 6]}
    recorder.step(10.0)
    found = recorder.data()["scalars"]["train/loss"]
    assert found == {"step": [2, 4, 6, 7], "value": [1.5, 3.5, 5.5, 10]}
    recorder.close()
