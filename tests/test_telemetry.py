import json
import math
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from innersight.errors import InnersightError
from innersight.train import Telemetry, TelemetryCallback
from innersight.train import recording as module


class Residual(nn.Module):
    """Two arms into one activation; `conv` has a unit that is switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.conv = nn.Conv2d(8, 6, 3, padding=1)
        self.arm = nn.Conv2d(8, 6, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            self.conv.bias[2:4] = -1e4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(self.relu(self.conv(x) + self.arm(x)).mean((2, 3)))


def run(
    net: nn.Module, telemetry: Telemetry | None, steps: int, *, seed: int = 0, first: int = 0
) -> list[dict[str, torch.Tensor]]:
    """Train in a bare loop; return for each step the weights before and after, and the gradients.

    first : so many steps were made before, whose batches are passed over.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    history = []
    for number in range(first + steps):
        x, y = torch.randn(4, 3, 10, 10, generator=generator), torch.randint(0, 4, (4,), generator=generator)
        if number < first:
            continue
        record = {f"before/{n}": p.detach().clone() for n, p in net.named_parameters()} | {"x": x}
        logits = net(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if telemetry is not None:
            telemetry.step(loss, accuracy=(logits.argmax(1) == y).float().mean(), lr=0.01)
        record |= {f"gradient/{n}": p.grad.clone() for n, p in net.named_parameters()}
        record |= {f"after/{n}": p.detach().clone() for n, p in net.named_parameters()} | {"loss": loss.detach()}
        history.append(record)
    return history


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules())


def test_figures_equal_a_slow_direct_computation() -> None:
    net = Residual()
    telemetry = Telemetry(net, every=3)
    history = run(net, telemetry, 6)
    layers = telemetry.data()["layers"]
    assert list(layers) == ["stem.0", "conv", "arm", "head"]
    for name, layer in layers.items():
        assert layer["step"] == [3, 6]
        for at, step in enumerate(layer["step"]):
            now = history[step - 1]
            weights, before, gradient = (
                now[f"{kind}/{name}.weight"].double().numpy().ravel() for kind in ("after", "before", "gradient")
            )
            assert layer["weight_norm"][at] == pytest.approx(math.sqrt((weights**2).sum()), rel=1e-4)
            assert layer["gradient_norm"][at] == pytest.approx(math.sqrt((gradient**2).sum()), rel=1e-4)
            ratio = math.sqrt(((weights - before) ** 2).sum()) / math.sqrt((before**2).sum())
            assert layer["update_ratio"][at] == pytest.approx(ratio, rel=1e-3)
            for kind, values in (("weight", weights), ("gradient", gradient)):
                histogram = layer[f"{kind}_histogram"]
                assert histogram["edges_low"][at] == pytest.approx(values.min(), rel=1e-4)
                assert histogram["edges_high"][at] == pytest.approx(values.max(), rel=1e-4)
                counts, _ = np.histogram(values, 32, (values.min(), values.max()))
                assert sum(histogram["counts"][at]) == len(values)
                assert np.abs(np.cumsum(counts) - np.cumsum(histogram["counts"][at])).max() <= 2  # values on an edge


def test_the_update_ratio_is_of_the_weights_before_the_step() -> None:
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU())
    telemetry = Telemetry(net, every=2)
    for size in (2.0, 6.0):
        nn.init.constant_(net[0].weight, size)
        telemetry.step(0.0)
    # From 2 to 6: twice of what it was, two thirds of what it is.
    assert telemetry.data()["layers"]["0"]["update_ratio"] == [2.0]
    assert telemetry.data()["layers"]["0"]["weight_norm"] == [pytest.approx(6 * math.sqrt(12), rel=1e-4)]
    telemetry.close()


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("at", [3, 4, 5, 6])
def test_a_record_due_at_the_first_step_after_a_resume_is_whole(tmp_path: Path, every: int, at: int) -> None:
    recorded = []
    for resumed in (False, True):
        torch.manual_seed(0)
        folder, net = tmp_path / str(resumed), Residual()
        with Telemetry(net, folder, every=every, tensorboard=False) as telemetry:
            run(net, telemetry, at if resumed else 9)
        if resumed:
            with Telemetry(net, folder, every=every, tensorboard=False, resume_at=at) as telemetry:
                run(net, telemetry, 9 - at, first=at)
        recorded.append(json.loads((folder / "telemetry.json").read_text())["layers"])
    assert recorded[0] == recorded[1]


def test_a_checkpoint_keeps_the_records_themselves(tmp_path: Path) -> None:
    net = Residual()
    whole = Telemetry(net, tmp_path, every=1, tensorboard=False)
    run(net, whole, 3)
    state = whole.state()
    run(net, whole, 4)
    whole.close()
    again = Telemetry(net, tmp_path, every=1, tensorboard=False, resume_at=3)
    again.restore(state)
    assert again.state() == state
    assert again.data()["scalars"]["train/loss"]["step"] == [1, 2, 3]
    again.step(1.0)
    assert state["scalars"]["train/loss"]["step"] == [1, 2, 3]
    again.close()


def test_dead_units_are_those_of_the_activation_that_follows() -> None:
    net = Residual()
    telemetry = Telemetry(net, every=2)
    history = run(net, telemetry, 2)
    layers = telemetry.data()["layers"]
    twin = Residual()
    twin.load_state_dict({n: history[1][f"before/{n}"] for n, _ in twin.named_parameters()}, strict=False)
    with torch.no_grad():
        stem = twin.stem(history[1]["x"])
        joined = torch.relu(twin.conv(stem) + twin.arm(stem))
    expected = sum(not bool((joined[:, unit] > 0).any()) for unit in range(6)) / 6
    assert expected >= 2 / 6
    assert layers["conv"]["dead"] == layers["arm"]["dead"] == [pytest.approx(expected, rel=1e-4)]
    assert layers["stem.0"]["dead"] == [sum(not bool((stem[:, u] > 0).any()) for u in range(8)) / 8]
    assert layers["head"]["dead"] == [None]


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    torch.manual_seed(0)
    watched, plain = Residual(), Residual()
    plain.load_state_dict(watched.state_dict())
    with Telemetry(watched, tmp_path, every=2) as telemetry:
        run(watched, telemetry, 5)
    run(plain, None, 5)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))


def test_a_bare_loop_leaves_no_hooks() -> None:
    net = Residual()
    telemetry = Telemetry(net, every=4)
    assert hooks(net) == 0
    run(net, telemetry, 2)
    assert hooks(net) == 0
    run(net, telemetry, 1)
    assert hooks(net) > 0  # the next step is recorded
    run(net, telemetry, 1)
    assert hooks(net) == 0
    run(net, telemetry, 3)
    telemetry.close()
    assert hooks(net) == 0


def test_an_exception_in_the_block_leaves_no_hooks(tmp_path: Path) -> None:
    net = Residual()
    telemetry = Telemetry(net, tmp_path, every=2)
    with pytest.raises(ValueError, match="4D"), telemetry:  # noqa: PT012
        run(net, telemetry, 3)
        net.stem[1](torch.zeros(1))
    assert hooks(net) == 0
    assert json.loads((tmp_path / "telemetry.json").read_text())["layers"]["conv"]["step"] == [2]


def test_evaluation_passes_do_not_count() -> None:
    net = Residual()
    telemetry = Telemetry(net, every=2)
    run(net, telemetry, 1)
    net.eval()
    net(torch.randn(2, 3, 10, 10))
    net.train()
    assert not telemetry._positive
    assert not telemetry._since_activation
    telemetry.close()


def test_values_that_are_not_finite_become_null(tmp_path: Path) -> None:
    net = Residual()
    with Telemetry(net, tmp_path, every=1) as telemetry:
        run(net, telemetry, 1)
        with torch.no_grad():
            net.conv.weight[0] = math.inf
            net.conv.weight.grad[0] = math.nan
        telemetry.step(math.nan, lr=0.1)
    stored = json.loads((tmp_path / "telemetry.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    assert stored["scalars"]["train/loss"]["value"][1] is None
    assert stored["layers"]["conv"]["weight_norm"][1] is None
    assert stored["layers"]["conv"]["gradient_norm"][1] is None
    assert stored["layers"]["conv"]["weight_histogram"]["counts"][1] is None
    assert stored["layers"]["conv"]["update_ratio"][0] is None  # every=1: the first step was not prepared


def test_gradients_that_were_cleared_are_null() -> None:
    net = Residual()
    telemetry = Telemetry(net, every=1)
    telemetry.step(0.5)
    layer = telemetry.data()["layers"]["conv"]
    assert layer["gradient_norm"] == [None]
    assert layer["gradient_histogram"]["counts"] == [None]
    telemetry.close()


def test_thinning_keeps_the_file_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 40)
    monkeypatch.setattr(module, "MAX_POINTS", 16)
    net = Residual()
    with Telemetry(net, tmp_path, every=2) as telemetry:
        history = run(net, telemetry, 64)
    data = json.loads((tmp_path / "telemetry.json").read_text())
    layer = data["layers"]["conv"]
    assert data["every"] == 8
    assert layer["step"] == [8, 16, 24, 32, 40, 48, 56, 64]
    assert len(layer["weight_histogram"]["counts"]) == len(layer["dead"]) == 8
    losses = data["scalars"]["train/loss"]
    assert len(losses["step"]) <= 16
    assert np.mean(losses["value"]) == pytest.approx(np.mean([float(h["loss"]) for h in history]), rel=0.05)


def test_event_files_hold_scalars_and_histograms(tmp_path: Path) -> None:
    net = Residual()
    with Telemetry(net, tmp_path, every=2) as telemetry:
        run(net, telemetry, 4)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/accuracy", "lr", "update_ratio/conv"} <= set(tags["scalars"])
    assert {"weights/conv", "gradients/head"} <= set(tags["histograms"])
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4]
    assert events.Histograms("weights/conv")[0].histogram_value.num == 6 * 8 * 9


def test_it_goes_on_after_a_step(tmp_path: Path) -> None:
    net = Residual()
    with Telemetry(net, tmp_path, every=2) as telemetry:
        run(net, telemetry, 7)
    with Telemetry(net, tmp_path, every=2, resume_at=4) as telemetry:
        run(net, telemetry, 4)
    data = json.loads((tmp_path / "telemetry.json").read_text())
    assert data["scalars"]["train/loss"]["step"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert data["layers"]["conv"]["step"] == [2, 4, 6, 8]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*many workers.*:UserWarning")
def test_the_callback_records_a_module_of_the_user(tmp_path: Path) -> None:
    class Mine(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Residual()

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return self.net(batch).square().mean()

        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            self.log("val_loss", self.net(batch).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    images = torch.utils.data.DataLoader(torch.randn(12, 3, 10, 10), batch_size=2)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[TelemetryCallback(tmp_path, every=3)], enable_model_summary=False, **options
    )
    mine = Mine()
    trainer.fit(mine, images, images)
    data = json.loads((tmp_path / "telemetry.json").read_text())
    assert data["layers"]["net.conv"]["step"] == [3, 6, 9, 12]
    assert all(r > 0 for r in data["layers"]["net.conv"]["update_ratio"])
    assert data["scalars"]["val_loss"]["step"] == [6, 12]
    assert hooks(mine) == 0


def test_impossible_settings_are_named() -> None:
    with pytest.raises(InnersightError, match="every=0"):
        Telemetry(Residual(), every=0)
    with pytest.raises(InnersightError, match="no convolution or linear layer"):
        Telemetry(nn.ReLU())


def test_a_network_that_is_one_layer() -> None:
    net = nn.Linear(3, 2)
    telemetry = Telemetry(net, every=2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = net(torch.ones(1, 3)).sum()
        loss.backward()
        optimizer.step()
        telemetry.step(loss)
    assert telemetry.data()["layers"]["Linear"]["update_ratio"][0] > 0


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e30])
def test_norms_of_gradients_of_any_size(size: float) -> None:
    net = nn.Linear(4, 3)
    telemetry = Telemetry(net, every=2)
    before = net.weight.detach().clone()
    for _ in range(2):
        net.weight.grad = torch.full_like(net.weight, size)
        telemetry.step(0.0)
    assert torch.equal(net.weight, before)
    with torch.no_grad():
        net.weight.fill_(size)
    for step in range(2):
        telemetry.step(0.0)
        with torch.no_grad():
            net.weight.fill_(size * (1.5 if step == 0 else 1))
    found = telemetry.data()["layers"]["Linear"]
    assert found["gradient_norm"][0] == pytest.approx(size * 12**0.5, rel=1e-4)
    assert found["weight_norm"][1] == pytest.approx(1.5 * size * 12**0.5, rel=1e-4)


def test_a_weight_of_any_size_has_an_update_ratio() -> None:
    for size in (1e-30, 1.0, 1e30):
        net = nn.Linear(4, 3)
        telemetry = Telemetry(net, every=2)
        with torch.no_grad():
            net.weight.fill_(size)
        telemetry.step(0.0)
        with torch.no_grad():
            net.weight.fill_(size * 1.5)
        telemetry.step(0.0)
        assert telemetry.data()["layers"]["Linear"]["update_ratio"][0] == pytest.approx(0.5, rel=1e-4)
