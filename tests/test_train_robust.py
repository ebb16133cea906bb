import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from train_fixture import QUICK, Said, assert_same_weights
from typer.testing import CliRunner

from innersight.cli import app
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.sources import load
from innersight.sources.run_card import read_card
from innersight.train import data, loop, train
from innersight.train.answers import to_float
from innersight.train.listing import scan
from innersight.train.robust import first_whole, hardest, radius_at

pytestmark = pytest.mark.usefixtures("own_cache")
SPEC = InputSpec(12, 16, fit="squash")


def network() -> nn.Module:
    """Answers that depend on the images, statistics that do not fit them, and dropout."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6 * 192, 4),
    )


def images(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 12, 16, generator=generator), torch.arange(count) % 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distances(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() - b.double()).flatten(1).norm(dim=1)


def losses(net: nn.Module, spec: InputSpec, pixels: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return functional.cross_entropy(net.eval()(spec.normalise(pixels)), targets, reduction="none")


@given(st.floats(0, 30), st.integers(0, 4), st.integers(0, 100))
def test_changed_images_lie_within_the_ball_and_the_range(radius: float, steps: int, seed: int) -> None:
    pixels, targets = images()
    pixels[0], pixels[1] = 0, 1
    changed = hardest(network(), SPEC, pixels, targets, radius, seeded(seed), steps=steps)
    assert changed.shape == pixels.shape
    assert changed.dtype == pixels.dtype
    assert not changed.requires_grad
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (distances(changed, pixels) <= radius * (1 + 1e-5) + 1e-6).all()


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_the_loss_is_higher_than_on_the_images_and_on_random_changes_of_the_same_size(radius: float) -> None:
    net, (pixels, targets) = network(), images(12)
    changed = hardest(net, SPEC, pixels, targets, radius, seeded())
    size = distances(changed, pixels)
    assert (size > 0.7 * radius).all()
    higher = losses(net, SPEC, changed, targets)
    assert (higher > losses(net, SPEC, pixels, targets)).all()
    for seed in range(5):
        noise = torch.randn(pixels.shape, generator=seeded(seed))
        beside = (pixels + noise * (size / distances(noise, torch.zeros(1)))[:, None, None, None].float()).clamp(0, 1)
        assert (higher > losses(net, SPEC, beside, targets)).all()


def test_on_a_linear_network_it_is_the_farthest_step_along_the_weights() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 16, 2))
    pixels, targets = torch.full((4, 3, 12, 16), 0.5), torch.tensor([0, 1, 0, 1])
    weights = net[1].weight.detach() / torch.tensor(SPEC.std).repeat_interleave(12 * 16)
    along = functional.normalize((weights[1] - weights[0])[None] * torch.tensor([[1.0], [-1], [1], [-1]]))
    change = (hardest(net, SPEC, pixels, targets, 0.3, seeded(), steps=50) - pixels).flatten(1)
    assert change.norm(dim=1).tolist() == pytest.approx([0.3] * 4)
    # From the worst start, at the edge and at a right angle, a way of 1.5 radii leads to tanh(1.5).
    assert (functional.cosine_similarity(change, along) > 0.9).all()


def test_modes_statistics_gradients_and_random_numbers_stay() -> None:
    net, (pixels, targets) = network().train(), images()
    net[1].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net[0].bias.requires_grad_(False)
    modes = [m.training for m in net.modules()]
    state = {name: t.clone() for name, t in net.state_dict().items()}
    before = torch.get_rng_state()
    hardest(net, SPEC, pixels, targets, 1.0, seeded())
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert all(p.grad is None for name, p in net.named_parameters() if name != "0.weight")
    assert [p.requires_grad for p in net.parameters()] == [True, False, *[True] * 4]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(pixels, images()[0])


def test_the_network_answers_in_evaluation_mode_and_is_put_back_when_it_raises() -> None:
    net, (pixels, targets) = network().train(), images()
    net[4].eval()
    seen = []

    def fail(module: nn.Module, inputs: object, output: object) -> None:
        seen.append(any(m.training for m in net.modules()))
        if len(seen) == 2:
            raise ValueError("enough")

    net[3].register_forward_hook(fail)
    with pytest.raises(ValueError, match="enough"):
        hardest(net, SPEC, pixels, targets, 1.0, seeded())
    assert seen == [False, False]
    assert [m.training for m in net.modules()] == [True, True, True, True, True, False, True]


@pytest.mark.parametrize("factor", [0.0, 1e4])
def test_images_without_a_gradient_stay_at_their_start(factor: float) -> None:
    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            # The softmax of the second is 1 and 0 in float32.
            return factor * torch.stack([x.mean((1, 2, 3)) + 9, -9 - x.mean((1, 2, 3))], 1)

    pixels, _ = images()
    targets = torch.zeros(len(pixels), dtype=torch.long)
    changed = hardest(Sure(), SPEC, pixels, targets, 1.0, seeded())
    start = hardest(Sure(), SPEC, pixels, targets, 1.0, seeded(), steps=0)
    assert torch.allclose(changed, start, atol=1e-6)
    assert not torch.equal(changed, pixels)


def test_the_smallest_gradients_count_in_full() -> None:
    class Known(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            # A loss of about e-60; its gradient's squares are 0 in float32.
            return torch.stack([60 - x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1)

    pixels, targets = torch.full((2, 3, 12, 16), 0.5), torch.zeros(2, dtype=torch.long)
    changed = hardest(Known(), SPEC, pixels, targets, 1.0, seeded(), steps=20)
    # The farthest that the mean can rise within a distance of 1, and most of the way there.
    assert ((changed - pixels).mean((1, 2, 3)) > 0.9 * 576**-0.5).all()


@given(st.integers(1, 60), st.integers(1, 40), st.floats(0.1, 10))
def test_the_radius_grows_to_the_whole_by_the_first_epoch_that_counts(epochs: int, each: int, whole: float) -> None:
    steps = epochs * each
    radii = [radius_at(step, steps, whole=whole) for step in range(steps)]
    assert radii[0] == pytest.approx(whole / 5)
    assert radii == sorted(radii)
    assert max(radii) <= whole
    first = (first_whole(epochs) - 1) * each
    assert all(radius == whole for radius in radii[first:])
    if first > each:
        assert radii[first - each - 1] < whole


def test_a_robust_run_that_was_stopped_ends_like_an_uninterrupted_one(tree: Path, tmp_path: Path) -> None:
    stop = Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT))
    result = train(tree, tmp_path / "run", report=stop, robust=1.5, **QUICK)
    assert result.stopped == "stopped after epoch 1"
    with pytest.raises(InnersightError, match=r"unfinished run with robust=1\.5, not 0\.0"):
        train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK)
    assert train(tree, tmp_path / "run", report=Said(), robust=1.5, resume=True, **QUICK).epochs == 3
    train(tree, tmp_path / "whole", report=Said(), robust=1.5, **QUICK)
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    train(tree, tmp_path / "plain", report=Said(), **QUICK)
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "plain", tmp_path / "whole")


def test_a_checkpoint_written_before_there_was_the_option_goes_on(tree: Path, tmp_path: Path) -> None:
    train(tree, tmp_path / "run", report=Said(epoch_1=lambda: os.kill(os.getpid(), signal.SIGINT)), **QUICK)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    del state["innersight"]["arguments"]["robust"]
    torch.save(state, last)
    with pytest.raises(InnersightError, match=r"robust=0\.0, not 1\.0"):
        train(tree, tmp_path / "run", report=Said(), robust=1.0, resume=True, **QUICK)
    assert train(tree, tmp_path / "run", report=Said(), resume=True, **QUICK).epochs == 3


def test_the_recipe_and_the_messages_name_it(tree: Path, tmp_path: Path) -> None:
    said = Said()
    train(tree, tmp_path / "run", report=said, robust=1.5, **{**QUICK, "epochs": 1})
    recipe = read_card(tmp_path / "run").recipe
    assert recipe["arguments"]["robust"] == 1.5
    assert " --robust 1.5" in recipe["command"]
    assert "L2 size 1.5" in recipe["learning"]
    assert "robust to changes of L2 size 1.5" in said.text
    said = Said()
    train(tree, tmp_path / "plain", report=said, **{**QUICK, "epochs": 1})
    plain = read_card(tmp_path / "plain").recipe
    assert "robust" not in plain["command"] + plain["learning"] + said.text
    assert plain["arguments"]["robust"] == 0


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_sizes_are_refused(tree: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(InnersightError, match=rf"robust={value}: give an L2 size of 0 or more"):
        train(tree, tmp_path / "run", report=Said(), robust=value, **QUICK)
    assert not (tmp_path / "run").exists()


def test_on_the_command_line(tree: Path, tmp_path: Path) -> None:
    words = ["train", str(tree), "--out", str(tmp_path / "run"), "--net", "small:4", "--size", "32", "--epochs", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    further = f"--net run:{tmp_path / 'run'} --robust 0.57"
    assert further in result.output
    words[3] = str(tmp_path / "robust")
    result = CliRunner().invoke(app, [*words, "--robust", "0.5"])
    assert result.exit_code == 0, result.output
    assert "hint" not in result.output
    assert read_card(tmp_path / "robust").recipe["arguments"]["robust"] == 0.5


def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is judged worse than the one before."""
    accuracies = iter(np.linspace(0.9, 0.1, 20))
    monkeypatch.setattr(loop, "score", lambda sums: (float(next(accuracies)), 1.0))


@pytest.mark.parametrize(("robust", "best"), [(0.0, 1), (0.5, 3)])
def test_the_best_epoch_had_the_whole_size(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robust: float, best: int
) -> None:
    falling(monkeypatch)
    options = {**QUICK, "epochs": 4, "keep_epochs": True}
    train(tree, tmp_path / "run", report=Said(), robust=robust, **options)
    assert read_card(tmp_path / "run").metrics["best_epoch"] == best
    kept = load(f"run:{tmp_path / 'run'}?epoch={best}").net.state_dict()
    assert all(torch.equal(t, kept[n]) for n, t in load(f"run:{tmp_path / 'run'}").net.state_dict().items())


@pytest.mark.parametrize(("robust", "epochs"), [(0.0, 2), (0.5, 6)])
def test_patience_begins_with_the_whole_size(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robust: float, epochs: int
) -> None:
    falling(monkeypatch)
    options = {**QUICK, "epochs": 8, "patience": 1}
    assert train(tree, tmp_path / "run", report=Said(), robust=robust, **options).epochs == epochs


def test_a_robust_network_keeps_more_of_its_accuracy_under_attack(tree: Path, tmp_path: Path) -> None:
    kept = {}
    for robust in (0.0, 6.0):
        result = train(tree, tmp_path / f"{robust}", report=Said(), robust=robust, **{**QUICK, "epochs": 12})
        net, spec = load(f"run:{result.folder}").net, result.card.input
        shown = data.decode(scan(tree), spec, report=Said())
        pixels, targets = to_float(torch.from_numpy(np.array(shown.pixels))), torch.from_numpy(shown.targets)
        changed = hardest(net, spec, pixels, targets, 6.0, seeded(), steps=10)
        with torch.no_grad():
            kept[robust] = [
                float((net(spec.normalise(x)).argmax(1) == targets).float().mean()) for x in (pixels, changed)
            ]
    assert kept[6.0][1] > kept[0.0][1] + 0.2
