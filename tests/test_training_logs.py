"""Logs of other programs, as those programs write them, and damaged in every way."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources.origins.keras import library
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.study.content import content_of
from innersight.train import Telemetry
from innersight.train.logs import log_formats, read_log
from innersight.train.logs.layers import LayerNames, LoggedHistogram, even
from innersight.train.logs.log import Series

KERAS = "epoch,accuracy,loss,learning_rate,val_accuracy,val_loss\r\n"
PLAN = Plan(layers=("relu1",), units=0, methods=("gradcam",), concepts=0, trust=0)


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def curves(path: Path, layers: tuple[str, ...] = ()) -> dict[str, tuple[list[int], list[float | None]]]:
    return {name: (row["step"], row["value"]) for name, row in read_log(path).document(layers)["scalars"].items()}


def notes(path: Path) -> str:
    found: list[str] = read_log(path).document(())["source"]["notes"]
    return " ".join(found)


# Keras and Lightning -------------------------------------------------------------------------------------------------


def test_a_keras_csv_is_read_by_epoch(tmp_path: Path) -> None:
    path = written(tmp_path / "history.csv", f"{KERAS}0,0.5,1.25,0.01,0.25,2.0\r\n1,0.75,0.5,0.001,NA,1.5\r\n")
    assert curves(path) == {
        "train/accuracy": ([0, 1], [0.5, 0.75]), "train/loss": ([0, 1], [1.25, 0.5]), "lr": ([0, 1], [0.01, 0.001]),
        "val/accuracy": ([0], [0.25]), "val/loss": ([0, 1], [2.0, 1.5]),
    }  # fmt: skip
    found = read_log(tmp_path).document(())
    assert found["axis"] == "epoch"
    assert found["source"] == {"title": "Keras CSVLogger", "logs": ["history.csv"], "notes": []}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_what_keras_itself_writes_is_read(tmp_path: Path) -> None:
    keras = library()
    net = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2
    log = keras.callbacks.CSVLogger(tmp_path / "h.csv", separator=";")
    history = net.fit(x, y, validation_data=(x, y), epochs=3, verbose=0, callbacks=[log]).history
    found = curves(tmp_path / "h.csv")
    assert found.keys() == {"train/loss", "val/loss", "train/accuracy", "val/accuracy"}
    assert found["val/loss"] == ([0, 1, 2], pytest.approx(history["val_loss"], rel=1e-4))


def test_a_training_that_began_again_replaces_the_former_one_and_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "h.csv", "epoch,loss\n0,9\n1,8\n2,7\n0,3\n1,2\n")
    assert curves(path) == {"train/loss": ([0, 1], [3.0, 2.0])}
    assert notes(path) == "Values written again after a restart replace the earlier ones: train/loss."


def test_a_lightning_csv_has_empty_cells(tmp_path: Path) -> None:
    head = "epoch,lr-Adam,step,train_loss_epoch,train_loss_step,val_acc"
    text = f"{head}\n,0.1,9,,,\n0,,9,,2.0,\n0,,19,,1.0,\n0,,19,,,0.5\n0,,19,1.5,,\n"
    path = written(tmp_path / "lightning_logs" / "version_0" / "metrics.csv", text)
    assert curves(path) == {
        "Adam/lr": ([9], [0.1]), "train by epoch/loss": ([19], [1.5]), "train/loss": ([9, 19], [2.0, 1.0]),
        "val/accuracy": ([19], [0.5]),
    }  # fmt: skip
    found = read_log(tmp_path).document(())
    assert (found["axis"], found["source"]["title"]) == ("step", "Lightning CSVLogger")


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*many workers.*:UserWarning")
def test_what_lightning_itself_writes_is_read(tmp_path: Path) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    class Mine(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 2)

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            loss = self.net(batch).square().mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            self.log("val_loss", self.net(batch).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loggers = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tb")]
    options = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    batches = torch.utils.data.DataLoader(torch.randn(8, 3), batch_size=2)
    pl.Trainer(max_epochs=2, logger=loggers, log_every_n_steps=1, accelerator="cpu", **options).fit(
        Mine(), batches, batches
    )
    by_csv, by_events = curves(tmp_path / "csv"), curves(tmp_path / "tb")
    assert by_csv.keys() == {"train/loss", "train by epoch/loss", "val/loss"} <= by_events.keys()
    assert len(by_csv["train/loss"][0]) == 8
    for name, (steps, values) in by_csv.items():
        assert by_events[name] == (steps, pytest.approx(values, rel=1e-4))


# Event files ---------------------------------------------------------------------------------------------------------


def test_event_files_of_pytorch_have_curves_and_histograms_of_layers(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in (10, 20):
            writer.add_scalar("Loss/train", 1 / step, step)
            writer.add_histogram("model.conv1.weight", torch.arange(0.0, step), step, bins=10)
            writer.add_histogram("conv1.weight.grad", -torch.arange(0.0, step), step)
            writer.add_histogram("conv9/weights", torch.arange(0.0, step), step)
            writer.add_histogram("conv1.bias", torch.arange(0.0, step), step)
            writer.add_image("picture", torch.zeros(3, 8, 8), step)
    found = read_log(tmp_path).document(["conv1", "relu1"])
    assert found["scalars"] == {"train/loss": {"step": [10, 20], "value": [0.1, 0.05]}}
    assert found["layers"].keys() == {"conv1"}
    weights, slopes = found["layers"]["conv1"]["weight_histogram"], found["layers"]["conv1"]["gradient_histogram"]
    assert weights["edges_low"] == [0.0, 0.0]
    assert weights["edges_high"] == [9.0, 19.0]
    assert [sum(row) for row in weights["counts"]] == pytest.approx([10, 20], rel=1e-3)
    assert slopes["edges_low"] == [-9.0, -19.0]
    assert found["layers"]["conv1"]["weight_norm"] == [None, None]
    assert "2 histograms are not of weights or gradients of a layer" in found["source"]["notes"][0]


def event(step: int, **value: Any) -> bytes:
    """One record of an event file, with tensors as TensorFlow 2 and Keras write them."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return record(Event(step=step, summary=Summary(value=[Summary.Value(**value)])).SerializeToString())


def record(data: bytes) -> bytes:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    size = struct.pack("<Q", len(data))
    return size + struct.pack("<I", masked_crc32c(size)) + data + struct.pack("<I", masked_crc32c(data))


def tensor(values: Any, plugin: str, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    array = np.asarray(values, dtype=np.float32)
    dim = [TensorShapeProto.Dim(size=size) for size in (array.shape if shape is None else shape)]
    proto = TensorProto(dtype=1, tensor_shape=TensorShapeProto(dim=dim), tensor_content=array.tobytes())
    named = SummaryMetadata.PluginData(plugin_name=plugin)
    return {"tensor": proto, "metadata": SummaryMetadata(plugin_data=named)}


def test_event_files_of_keras_are_two_folders_by_epoch(tmp_path: Path) -> None:
    for run, loss in (("train", 0.5), ("validation", 0.75)):
        records = [event(epoch, tag="epoch_loss", **tensor(loss / 2**epoch, "scalars")) for epoch in (0, 1)]
        if run == "train":
            records.append(event(1, tag="epoch_learning_rate", **tensor(0.125, "scalars")))
            table = [[0.0, 1.0, 8.0], [1.0, 2.0, 24.0]]
            records.append(event(1, tag="sequential/conv1/kernel/histogram", **tensor(table, "histograms")))
        written(tmp_path / run / "events.out.tfevents.1.host", b"".join(records))
    found = read_log(tmp_path).document(["conv1"])
    assert found["axis"] == "epoch"
    assert found["scalars"] == {
        "train/loss": {"step": [0, 1], "value": [0.5, 0.25]},
        "lr": {"step": [1], "value": [0.125]},
        "val/loss": {"step": [0, 1], "value": [0.75, 0.375]},
    }
    layer = found["layers"]["conv1"]
    assert layer["step"] == [1]
    assert layer["weight_histogram"]["counts"] == [[0.5] * 16 + [1.5] * 16]


def test_curves_by_epoch_beside_curves_by_step_have_an_axis_of_their_own(tmp_path: Path) -> None:
    records = [event(300, tag="batch_loss", simple_value=0.5), event(2, tag="epoch_loss", simple_value=0.25)]
    written(tmp_path / "events.out.tfevents.1", b"".join(records))
    found = read_log(tmp_path).document(())
    assert found["axis"] == "step"
    assert found["scalars"]["loss"] == {"step": [2], "value": [0.25], "axis": "epoch"}
    assert "axis" not in found["scalars"]["batch_loss"]


def test_a_file_that_goes_on_after_a_restart_replaces_later_steps(tmp_path: Path) -> None:
    for name, steps in (("events.out.tfevents.1", (1, 2, 3)), ("events.out.tfevents.2", (3, 4))):
        data = b"".join(event(step, tag="loss", simple_value=float(step * len(steps))) for step in steps)
        written(tmp_path / name, data)
    assert curves(tmp_path) == {"loss": ([1, 2, 3, 4], [3.0, 6.0, 6.0, 8.0])}


def test_a_record_that_is_cut_off_is_a_note_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    whole = b"".join(event(step, tag="loss", simple_value=1.0) for step in (1, 2))
    path = tmp_path / "events.out.tfevents.1"
    for end in (1, 5, len(whole) // 2 - 1):
        written(path, whole[:-end])
        assert curves(path)["loss"][0] == [1]
        assert "ends within a record" in notes(path)
    for at in (2, 14, len(whole) // 2 + 9, len(whole) - 6):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        written(path, bytes(damaged))
        with pytest.raises(InnersightError, match=r"byte (0|\d\d): the event file is damaged"):
            read_log(path)


def test_what_a_record_claims_is_not_believed(tmp_path: Path) -> None:
    from tensorboard.compat.proto.summary_pb2 import HistogramProto as Histogram
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    size = struct.pack("<Q", 2**60)
    path = written(tmp_path / "a" / "events.out.tfevents.1", size + struct.pack("<I", masked_crc32c(size)))
    with pytest.raises(InnersightError, match="a record of 1,152,921,504,606,846,976 bytes"):
        read_log(path)
    written(path, record(b"\xff" * 9))
    with pytest.raises(InnersightError, match="a record is no event"):
        read_log(path)
    claims = [
        event(1, tag="a", **tensor([1.0], "scalars", (2**40,))),
        event(1, tag="b", **tensor(np.ones((2, 3)), "histograms", (2**31, 3))),
        event(1, tag="c", **tensor([[1.0, 0.0, 5.0]], "histograms")),
        event(1, tag="d", **tensor([[0.0, 1.0, float("nan")]], "histograms")),
        event(2**63 - 1, tag="e", simple_value=1.0),
        # As wide, and as many, as no number is.
        event(1, tag="conv1/weight", histo=Histogram(min=-1e308, max=1e308, bucket_limit=[0, 1e308], bucket=[1, 1])),
        event(1, tag="conv1/weight", histo=Histogram(min=0, max=2, bucket_limit=[1, 2], bucket=[1e308, 1e308])),
    ]
    written(path, b"".join(claims))
    with pytest.raises(InnersightError, match="holds no values yet"):
        read_log(path)


# Any log -------------------------------------------------------------------------------------------------------------


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "h.csv", "epoch,loss,val_loss\n0,1,2\n1,nan,inf\n2,-inf,1\n")
    assert curves(path)["train/loss"] == ([0, 1, 2], [1.0, None, None])
    assert "train/loss is not a finite number at 2 of 3 epochs, first at epoch 1." in notes(path)


def test_a_long_curve_is_averaged_and_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "h.csv", "step,loss\n" + "".join(f"{n},{n % 2}\n" for n in range(5000)))
    steps, values = curves(path)["loss"]
    assert len(steps) == 625
    assert set(values) == {0.5}
    assert notes(path) == "Curves of more than 1,000 points are averages of neighbours: loss."


def test_of_many_curves_the_known_ones_are_kept(tmp_path: Path) -> None:
    names = [f"m{n}" for n in range(300)] + ["val_loss"]
    path = written(tmp_path / "h.csv", f"step,{','.join(names)}\n1,{','.join('1' for _ in names)}\n")
    found = curves(path)
    assert len(found) == 200
    assert "val/loss" in found
    assert "101 of 301 curves are left out: m199, m200, m201, m202 and 97 more." in notes(path)


def test_a_column_of_texts_is_left_out_and_said(tmp_path: Path) -> None:
    path = written(tmp_path / "h.csv", 'epoch,loss,note\n0,1,"first, and best"\n1,2,second\n')
    assert curves(path).keys() == {"train/loss"}
    assert notes(path) == "Columns that hold no numbers are left out: note."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no training log that is known"),
        ("hello", "no training log that is known"),
        (b"\xff\xfe\x00", "no training log that is known"),
        ("epoch,loss\n", "holds no values yet"),
        ("epoch,loss\n0,\n", "holds no values yet"),
        ("epoch,loss\n0,1\n1,0.3x\n", "line 3: 'loss' is '0.3x', which is no number"),
        ("epoch,loss\nx,1\n", "line 2: epoch is 'x', which is no whole number"),
        ("epoch,loss\n1.5,1\n", "epoch is '1.5', which is no whole number"),
        ("epoch,loss\n-1,1\n", "epoch is '-1', which is no whole number"),
        ("epoch,loss\nnan,1\n", "epoch is 'nan', which is no whole number"),
        ("epoch,loss\n0,1,2\n", "line 2: 3 cells under 2 names"),
        ("epoch,loss,acc\n0,1\n", "line 2: 2 cells under 3 names"),
        ("epoch,loss,loss\n0,1,2\n", "two columns are named loss"),
        (b"epoch,loss\n0,\xff\n", "save it as UTF-8"),
        ('epoch,loss\n0,"1\n', "not a readable training log"),
        (f"epoch,{','.join(f'm{n}' for n in range(3000))}\n", "3,001 columns; the limit is 2,000"),
        (f"epoch,loss\n0,{'1' * 200_000}\n", "not a readable training log"),
    ],
)
def test_a_garbled_table_is_one_sentence(text: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=said) as caught:
        read_log(written(tmp_path / "h.csv", text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_huge_table_is_refused_unread(tmp_path: Path) -> None:
    path = written(tmp_path / "h.csv", "epoch,loss\n")
    os.truncate(path, 2**40)
    with pytest.raises(InnersightError, match="too large for a training log; the limit is 64 MiB"):
        read_log(path)
    events = written(tmp_path / "e" / "events.out.tfevents.1", b"")
    os.truncate(events, 2**40)
    with pytest.raises(InnersightError, match=r"the limit is 1,073,741,824"):
        read_log(events)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="no such training log"):
        read_log(tmp_path / "missing.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InnersightError, match="pipe, socket or device"):
        read_log(tmp_path / "pipe")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "link.csv").symlink_to(written(tmp_path / "h.csv", "epoch,loss\n0,1\n"))
    with pytest.raises(InnersightError, match="holds no training log that is known: Innersight telemetry"):
        read_log(tmp_path / "f")


def test_of_a_folder_of_several_logs_one_is_read_or_has_to_be_named(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "epoch,loss\n0,1\n")
    written(tmp_path / "b.csv", "epoch,loss\n0,1\n")
    with pytest.raises(InnersightError, match=r"holds 2 logs \(a.csv, b.csv\): name the one to read"):
        read_log(tmp_path)
    written(tmp_path / "tb" / "events.out.tfevents.1", event(1, tag="loss", simple_value=1.0))
    found = read_log(tmp_path)
    assert (found.title, found.files) == ("TensorBoard event files", ("tb/events.out.tfevents.1",))
    assert found.notes == ["Not read: Keras CSVLogger in a.csv, b.csv; name it instead to see it."]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: [], lambda data: {**data, "scalars": []}, lambda data: {**data, "layers": {"a": {}}},
        lambda data: {**data, "scalars": {"a": {"step": [1, 2], "value": [1.0]}}},
        lambda data: {**data, "scalars": {"a": {"step": [2, 1], "value": [1.0, 1.0]}}},
        lambda data: {**data, "scalars": {"a": {"step": [True], "value": [1.0]}}},
        lambda data: {**data, "scalars": {"a": {"step": [1], "value": ["<script>"]}}},
        lambda data: {**data, "layers": {"a": {"step": [1], "weight_histogram": {"edges_low": [0.0]}}}},
    ],
)  # fmt: skip
def test_our_own_record_is_checked(change: Any, tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2))
    with Telemetry(net, tmp_path, every=1, tensorboard=False) as telemetry:
        telemetry.step(0.5, lr=0.1)
    found = read_log(tmp_path).document(["0"])
    assert found["scalars"]["train/loss"] == {"step": [1], "value": [0.5]}
    assert sum(found["layers"]["0"]["weight_histogram"]["counts"][0]) == 6
    path = tmp_path / "telemetry.json"
    data = change(json.loads(path.read_text()))
    path.write_text(json.dumps(data) if data else " {}")
    with pytest.raises(InnersightError, match="not a readable training record"):
        read_log(tmp_path)


def test_layers_are_found_by_whole_parts_of_a_name() -> None:
    names = LayerNames(["conv1", "layer1.0.conv1", "layer1.0.conv10", "0", "fc"])
    assert names.find("weights/layer1.0.conv1") == ("layer1.0.conv1", "weight")
    assert names.find("model.layer1.0.conv1.weight") == ("layer1.0.conv1", "weight")
    assert names.find("layer1/0/conv10/kernel:0") == ("layer1.0.conv10", "weight")
    assert names.find("gradients/fc") == ("fc", "gradient")
    assert names.find("fc.weight.grad") == ("fc", "gradient")
    assert names.find("fc.bias.grad") is None
    assert names.find("fc") is None
    assert names.find("fc2.weight") is None
    assert names.find("conv1/fc/weight") is None  # it could be either


def test_uneven_bins_become_even_ones() -> None:
    edges, counts = np.array([-1.0, 0.0, 7.0]), np.array([4.0, 28.0])
    low, high, found = even(LoggedHistogram(0, edges, counts))
    assert (low, high) == (-1.0, 7.0)
    assert found == pytest.approx([1.0] * 32)  # 4 bins of 0.25 for the first, 28 for the second
    assert even(LoggedHistogram(0, np.array([2.0, 2.0]), np.array([5.0]))) == (2.0, 2.0, [5.0] + [0.0] * 31)


def test_series_keep_what_was_written_last() -> None:
    series = Series()
    for step, value in ((1, 1.0), (2, 2.0), (2, 3.0), (1, 4.0)):
        series.add(step, value)
    assert (list(series.step), list(series.value), series.again) == ([1], [4.0], 3)


def test_each_format_says_what_it_reads() -> None:
    assert len(log_formats) >= 4
    for entry in log_formats.entries():
        assert entry.fits is not None
        assert entry.use


# In a study ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


def shown(made: Study) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.render() / "documents" / "training.json").read_text())
    return found


def test_a_study_shows_a_log_keeps_it_and_takes_another(tmp_path: Path, model: Model) -> None:
    path = written(tmp_path / "h.csv", f"{KERAS}0,0.5,1.25,0.01,0.25,2.0\r\n")
    made = study(model, [image(1)], tmp_path / "s", plan=PLAN, log=path)
    found = shown(made)
    assert found["scalars"]["val/loss"] == {"step": [0], "value": [2.0]}
    assert found["source"]["title"] == "Keras CSVLogger"
    assert str(tmp_path) not in json.dumps(found)
    assert "Keras CSVLogger" in made.report(tmp_path / "r.html").read_text()
    how = json.loads((tmp_path / "s" / "web" / "documents" / "study.json").read_text())["how"]["training"]
    assert "Keras CSVLogger, h.csv" in how
    assert content_of(Store.open(made.folder)).curves["val/loss"] == ([0], [2.0])
    again = study(model, [image(1)], tmp_path / "s", plan=PLAN)
    assert again.computed == 0
    assert shown(again) == found
    written(path, f"{KERAS}0,0.5,1.25,0.01,0.25,4.0\r\n")
    assert shown(study(model, [image(1)], tmp_path / "s", plan=PLAN, log=path))["scalars"]["val/loss"]["value"] == [4.0]


def test_a_log_that_cannot_be_read_ends_the_study_before_it_begins(tmp_path: Path, model: Model) -> None:
    with pytest.raises(InnersightError, match="no such training log"):
        study(model, [image(1)], tmp_path / "s", plan=PLAN, log=tmp_path / "none")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"source": "x"}, {"source": {"title": 1, "logs": [], "notes": []}}, {"scalars": []},
        {"scalars": {"a": {"step": [1], "value": ["x"]}}}, {"layers": {"relu1": {"step": "x"}}},
        {"source": {"title": "t", "logs": "x", "notes": []}},
    ],
)  # fmt: skip
def test_the_record_of_a_strangers_study_is_checked(change: dict[str, Any], tmp_path: Path, model: Model) -> None:
    made = study(model, [image(1)], tmp_path / "s", plan=PLAN, log=written(tmp_path / "h.csv", "epoch,loss\n0,1\n"))
    store = Store.open(made.folder)
    item = store.get("training")
    assert item is not None
    store.put("training", {}, {**item.document, **change}, {}, 0.0)
    with pytest.raises(InnersightError):
        Study.open(made.folder).render()
