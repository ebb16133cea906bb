"""Heatmaps of a few images during training: what they are, and that they change nothing; files of strangers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from networks import image, tiny
from safetensors.torch import save_file
from torch import nn
from train_fixture import QUICK, Said, assert_same_weights, draw

from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.predict import predict
from innersight.sources import load
from innersight.sources.origins.keras import library
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.train import FixedImages, KerasTelemetryCallback, TelemetryCallback, train
from innersight.train import fixed as module
from innersight.train.fixed import overlay, read_images

PLAN = Plan(units=0, methods=("gradcam",), concepts=0, trust=0, size=32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose epochs are kept, and the images it was trained on."""
    root = tmp_path_factory.mktemp("fixed")
    for name, count in {"blue": 12, "green": 12, "red": 24}.items():
        draw(root / "images", name, count)
    options: Any = {**QUICK, "keep_epochs": True, "cache": root / "cache"}
    train(root / "images", root / "run", report=Said(), **options)
    return root / "run"


def test_a_run_records_what_explain_says_of_each_epoch(run: Path) -> None:
    facts, found = read_images(run) or pytest.fail("no record")
    assert found["epoch"].tolist() == [0, 1, 2, 3]
    steps = json.loads((run / "telemetry.json").read_text())["scalars"]["train/loss"]["step"]
    assert found["step"].tolist() == [0, len(steps) // 3, 2 * len(steps) // 3, len(steps)]
    assert facts["labels"] == ["blue", "green", "red"]
    split = json.loads((run / "split.json").read_text())
    assert len(facts["names"]) == 4
    # One of each class, then the second of one.
    assert found["target"][0].tolist() == [0, 1, 2, 2]
    for row, epoch in enumerate(found["epoch"].tolist()):
        model = load(f"run:{run}?epoch={epoch}")
        for at, (name, target) in enumerate(zip(facts["names"], found["target"][row].tolist(), strict=True)):
            path = run.parent / "images" / facts["labels"][target] / name
            assert f"{facts['labels'][target]}/{name}" in split["held_out"]
            own = explain(model, path, target, ["gradcam"]).entries[0]
            assert torch.allclose(found["values"][row, at], own.values, rtol=1e-3, atol=1e-5)
            assert float(found["probability"][row, at]) == pytest.approx(own.probability, rel=1e-3)
            assert int(found["predicted"][row, at]) == int(predict(model, path).logits.argmax())


def test_training_is_the_same_with_and_without(run: Path, tmp_path: Path) -> None:
    options: Any = {**QUICK, "cache": run.parent / "cache", "heatmaps": 0}
    train(run.parent / "images", tmp_path / "run", report=Said(), **options)
    assert_same_weights(run, tmp_path / "run")
    assert not (tmp_path / "run" / "images.safetensors").exists()
    others = [json.loads((one / "telemetry.json").read_text()) for one in (run, tmp_path / "run")]
    assert others[0] == others[1]


def test_a_run_that_goes_on_records_the_same(run: Path, tmp_path: Path) -> None:
    class Kill(Exception):  # noqa: N818
        pass

    def kill() -> None:
        raise Kill

    options: Any = {**QUICK, "cache": run.parent / "cache"}
    with pytest.raises(Kill):
        train(run.parent / "images", tmp_path / "run", report=Said(epoch_1=kill), **options)
    train(run.parent / "images", tmp_path / "run", report=Said(), **options)
    (_, whole), (_, resumed) = read_images(run) or ({}, {}), read_images(tmp_path / "run") or ({}, {})
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_event_files_hold_the_maps_over_the_images(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("heatmaps/")]
    assert len(tags) == 4
    first, *others = events.Images(tags[0])
    assert (first.step, first.width, first.height) == (0, 32, 32)
    assert len(others) == 3


def test_the_training_page_has_them_on_one_scale_for_each_image(run: Path, tmp_path: Path) -> None:
    made = study(load(f"run:{run}"), [run.parent / "images" / "red" / "000.png"], tmp_path / "s", plan=PLAN)
    document = json.loads((made.render() / "documents" / "training.json").read_text())["images"]
    facts, found = read_images(run) or pytest.fail("no record")
    assert document["epoch"] == [0, 1, 2, 3]
    assert document["maps"]["sheet"]["count"] == 16
    assert document["maps"]["hi"][5] == pytest.approx(float(found["values"][1, 1].max()), rel=1e-6)
    for at, row in enumerate(document["rows"]):
        assert row["high"] == pytest.approx(float(found["values"][:, at].abs().max()), rel=1e-6)
        assert row["target"] == [facts["labels"][n] for n in found["target"][:, at].tolist()]


def test_a_network_without_a_grid_is_trained_and_the_reason_said(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU(), nn.Linear(4, 2))
    images = FixedImages(load(net, input=InputSpec(8, 8)), [image(1)])
    images.record(0, 0)
    assert "no layer of Sequential has maps larger than 1x1" in images.refusal
    assert images.tensors() == {}
    images.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_records_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("in-place")
    images = FixedImages(model, [image(1), image(2)], targets=["ash", 2])
    images.record(0, 0)
    cells = images.tensors()["values"].numel()
    monkeypatch.setattr(module, "MAX_VALUES", 4 * cells)
    for epoch in range(1, 14):
        images.record(10 * epoch, epoch)
        images.record(10 * epoch, epoch)  # once for an epoch
    found = images.tensors()
    assert found["epoch"].tolist() == [0, 4, 8, 12]
    assert found["step"].tolist() == [0, 40, 80, 120]
    assert found["target"].tolist() == [[0, 2]] * 4


def test_a_record_goes_on_with_its_own_images() -> None:
    model = tiny("in-place")
    first = FixedImages(model, [image(0), image(1)])
    first.record(0, 0)
    again = FixedImages(model, [image(0), image(1)])
    again.restore(first.state())
    assert torch.equal(again.tensors()["values"], first.tensors()["values"])
    for others in ([image(0), image(2)], [image(1), image(0)], [image(0)]):
        with pytest.raises(InnersightError, match="other images than those of its record"):
            FixedImages(model, others).restore(first.state())


def test_what_cannot_be_recorded_is_refused() -> None:
    model = tiny("in-place")
    with pytest.raises(InnersightError, match="17 images to record: give at most 16"):
        FixedImages(model, [image(n) for n in range(17)])
    with pytest.raises(InnersightError, match="1 targets for 2 images"):
        FixedImages(model, [image(1), image(2)], targets=[0])
    with pytest.raises(InnersightError, match="oak"):
        FixedImages(model, [image(1)], targets=["oak"])
    with pytest.raises(InnersightError, match="heatmaps=17: give a number from 0 to 16"):
        train("images", "run", heatmaps=17)


def test_an_overlay_is_the_map_in_colours_over_the_grey_image() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = (30, 60, 90)
    found = overlay(pixels, torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    # Zero and the peak of the scale are the ends of its colours.
    from matplotlib import colormaps

    low, high = (np.array(colormaps["magma"](end)[:3]) * 255 for end in (0.0, 1.0))
    assert np.abs(found[0, 0] - (0.4 * 60 + 0.6 * low)).max() <= 1
    assert np.abs(found[3, 3] - 0.6 * high).max() <= 1
    assert np.abs(found[3, 1] - 0.6 * low).max() <= 1


# Other loops ---------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """With everything that a look at it could change: norms, dropout, an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.relu, self.drop, self.head = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.relu(self.norm(self.conv(x))).mean((2, 3))))


class Mine(pl.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch), torch.arange(len(batch)) % 4)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*many workers.*:UserWarning")
def test_a_module_of_the_user_learns_the_same_under_the_callback(tmp_path: Path) -> None:
    weights, random = [], []
    for watched in (True, False):
        torch.manual_seed(0)
        net = Small()
        options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        callbacks: list[Any] = []
        if watched:
            fixed = FixedImages(load(net, input=tiny("in-place").input), [image(1)], targets=[3])
            callbacks = [TelemetryCallback(tmp_path, every=2, images=fixed)]
        batches = torch.utils.data.DataLoader(torch.randn(12, 3, 24, 24), batch_size=4)
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", callbacks=callbacks, enable_model_summary=False, **options
        )
        trainer.fit(Mine(net), batches)
        weights.append(net.state_dict())
        random.append(torch.get_rng_state())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(*random)
    _, found = read_images(tmp_path) or pytest.fail("no record")
    assert found["epoch"].tolist() == [0, 1, 2]
    assert not torch.equal(found["values"][0], found["values"][2])
    assert found["target"].tolist() == [[3], [3], [3]]


def keras_network(keras: Any, drop: float = 0.5) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((24, 24, 3)), layers.Conv2D(4, 3, activation="relu", name="conv"), layers.BatchNormalization(),
            layers.Conv2D(5, 3, activation="relu", name="deep"), layers.GlobalAveragePooling2D(), layers.Dropout(drop),
            layers.Dense(3, activation="softmax", name="top"),
        ]
    )  # fmt: skip
    net.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def fitted(keras: Any, net: Any, callbacks: list[Any]) -> Any:
    x, y = np.random.default_rng(0).normal(size=(12, 24, 24, 3)).astype(np.float32), np.arange(12) % 3
    return net.fit(
        x, y, batch_size=4, epochs=2, validation_data=(x, y), shuffle=False, verbose=0, callbacks=callbacks
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_keras_network_learns_the_same_and_is_recorded(tmp_path: Path) -> None:
    keras = library()
    weights, history = [], None
    for watched in (True, False):
        net = keras_network(keras)
        callbacks: list[Any] = []
        if watched:
            fixed = FixedImages(load(net), [image(1)], targets=[2])
            callbacks = [KerasTelemetryCallback(tmp_path, every=2, images=fixed)]
        found = fitted(keras, net, callbacks)
        history = history or found.history
        weights.append([one.value.detach().clone() for one in net.weights])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    data = json.loads((tmp_path / "telemetry.json").read_text())
    assert data["scalars"]["val/loss"] == {"step": [3, 6], "value": pytest.approx(history["val_loss"], rel=1e-4)}
    assert data["scalars"]["train/accuracy"]["value"] == pytest.approx(history["accuracy"], rel=1e-4)
    assert data["scalars"]["lr"]["value"] == [0.1, 0.1]
    assert list(data["layers"]) == ["conv", "deep", "top"]
    layer = data["layers"]["top"]
    assert layer["step"] == [2, 4, 6]
    assert layer["dead"] == [None] * 3
    last = weights[0][-2].double()
    assert layer["weight_norm"][2] == pytest.approx(float(last.norm()), rel=1e-4)
    # Plain gradient descent: the change is the rate times the gradient.
    before = layer["weight_norm"][2]
    assert layer["update_ratio"][2] == pytest.approx(0.1 * layer["gradient_norm"][2] / before, rel=0.05)
    facts, images = read_images(tmp_path) or pytest.fail("no record")
    assert images["epoch"].tolist() == [0, 1, 2]
    own = explain(load(net), image(1), 2, ["gradcam"]).entries[0]
    assert torch.allclose(images["values"][2, 0], own.values, rtol=1e-3, atol=1e-6)
    assert facts["layer"] == own.layer


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_images_of_another_keras_network_are_refused() -> None:
    keras = library()
    callback = KerasTelemetryCallback(every=2, images=FixedImages(tiny("in-place"), [image(1)]))
    with pytest.raises(InnersightError, match="the images are of another network than"):
        fitted(keras, keras_network(keras), [callback])
    with pytest.raises(InnersightError, match="every=0"):
        KerasTelemetryCallback(every=0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_record_of_a_keras_network_is_shown_by_a_study(tmp_path: Path) -> None:
    keras = library()
    net = keras_network(keras)
    fitted(keras, net, [KerasTelemetryCallback(tmp_path / "log", every=2, images=FixedImages(load(net), [image(1)]))])
    made = study(load(net), [image(1)], tmp_path / "s", plan=PLAN, log=tmp_path / "log")
    found = json.loads((made.render() / "documents" / "training.json").read_text())
    assert found["layers"].keys() == {"conv", "deep", "top"}
    assert found["images"]["epoch"] == [0, 1, 2]
    assert found["source"]["title"] == "Innersight telemetry"


# Files of strangers --------------------------------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None], run: Path, folder: Path) -> None:
    facts, tensors = read_images(run) or pytest.fail("no record")
    change(facts, tensors)
    whole = {name: one.contiguous() for name, one in tensors.items()}
    save_file(whole, folder / "images.safetensors", {"facts": json.dumps(facts)})


DAMAGE: list[Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]] = [
    lambda facts, tensors: facts.pop("names"),
    lambda facts, tensors: facts.update(title=3),
    lambda facts, tensors: facts.update(names=["a"]),
    lambda facts, tensors: facts.update(labels=["a"]),
    lambda facts, tensors: facts.update(names="abcd"[:3] + "<"),
    lambda facts, tensors: tensors.pop("values"),
    lambda facts, tensors: tensors.update(values=tensors["values"].flatten()),
    lambda facts, tensors: tensors.update(values=tensors["values"].long()),
    lambda facts, tensors: tensors.update(values=tensors["values"][:0]),
    lambda facts, tensors: tensors.update(pixels=tensors["pixels"].float()),
    lambda facts, tensors: tensors.update(pixels=tensors["pixels"][:1]),
    lambda facts, tensors: tensors.update(pixels=torch.zeros(4, 4000, 2, 3, dtype=torch.uint8)),
    lambda facts, tensors: tensors.update(target=tensors["target"] - 9),
    lambda facts, tensors: tensors.update(predicted=tensors["predicted"] + 9),
    lambda facts, tensors: tensors.update(probability=tensors["probability"][:1]),
    lambda facts, tensors: tensors.update(epoch=tensors["epoch"][:1]),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_record_that_is_none_is_one_sentence(number: int, run: Path, tmp_path: Path) -> None:
    changed(DAMAGE[number], run, tmp_path)
    with pytest.raises(InnersightError, match="not a readable record of images"):
        read_images(tmp_path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    assert read_images(tmp_path) is None
    for data in (b"", b"no", (2**60).to_bytes(8, "little") + b"{}"):
        (tmp_path / "images.safetensors").write_bytes(data)
        with pytest.raises(InnersightError):
            read_images(tmp_path)


def test_a_strangers_study_is_checked(run: Path, tmp_path: Path) -> None:
    model: Model = load(f"run:{run}")
    made = study(model, [run.parent / "images" / "red" / "000.png"], tmp_path / "s", plan=PLAN)
    store = Store.open(made.folder)
    item = store.get("training") or pytest.fail("no item")
    tensors = item.tensors()
    for odd in ("x", {"names": []}, {**item.document["images"], "labels": ["a"]}):
        store.put("training", {}, {**item.document, "images": odd}, tensors, 0.0)
        with pytest.raises(InnersightError):
            Study.open(made.folder).render()
    store.put("training", {}, item.document, {**tensors, "values": tensors["values"][0]}, 0.0)
    with pytest.raises(InnersightError):
        Study.open(made.folder).render()
