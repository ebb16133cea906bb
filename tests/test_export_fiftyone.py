"""A study as a FiftyOne data set: what the files hold, read as FiftyOne reads them, and what is left out."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import tiny
from PIL import Image as PILImage
from typer.testing import CliRunner

from innersight import toons
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.model import Model
from innersight.predict import predict
from innersight.scan import load_scan, scan
from innersight.storage.annotations import called
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.study.exports.fiftyone import FIELDS

PLAN = Plan(layers=("relu1", "relu2"), units=0, negatives=0, methods=("gradcam", "saliency"), concepts=3, trust=0)
SIZE = (36, 20)  # wider than the network's input is: what it sees is a part


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("in-place")


@pytest.fixture(scope="module")
def made(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("fiftyone")
    random = np.random.default_rng(0)
    for label in model.labels[:2]:
        for i in range(2):
            file = folder / "images" / label / f"{i} é'\".png"
            file.parent.mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(random.integers(0, 256, (*SIZE[::-1], 3), np.uint8)).save(file)
    files = sorted((folder / "images").rglob("*.png"))
    in_memory = PILImage.open(files[0]).rotate(180)
    scan(model, folder / "images", ["relu1"], out=folder / "s")
    done = study(model, [files[0], files[2], in_memory], folder / "s", plan=PLAN)
    done.annotate("p0", name="the first", tags=["odd", "scan"], note="a note")
    done.annotate("relu2:1", name="edges")
    return done


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    card = json.loads((folder / "metadata.json").read_text("utf-8"))
    return card, json.loads((folder / "samples.json").read_text("utf-8"))["samples"]


def array(stored: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(stored["$binary"]["base64"]))
    return np.load(io.BytesIO(data), allow_pickle=False)


def change(folder: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite")) as db, db:
        db.execute(query, values)


@pytest.fixture
def sent(made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study of somebody else: nothing is remembered of it."""
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path / "none"))
    shutil.copytree(made.folder, tmp_path / "sent")
    return Study.open(tmp_path / "sent")


def test_every_image_is_there_once_with_its_prediction(made: Study, model: Model, tmp_path: Path) -> None:
    card, samples = read(made.to_fiftyone(tmp_path / "out"))
    assert "version" not in card  # with one, it would have to be a copy of a database
    assert card["media_type"] == "image"
    assert card["info"]["notes"] == []
    files = sorted((made.folder.parent / "images").rglob("*.png"))
    assert [one["filepath"] for one in samples] == [
        *map(str, (files[1], files[3], files[0], files[2])), "images/p2.png",
    ]  # fmt: skip
    assert [one["tags"] for one in samples] == [
        ["scan"],
        ["scan"],
        ["study", "scan", "odd"],
        ["study", "scan"],
        ["study"],
    ]
    assert [one.get("scan_number") for one in samples] == [1, 3, 0, 2, None]
    assert [one.get("study_image") for one in samples] == [None, None, "p0", "p1", "p2"]
    found = predict(model, files)
    for one, number in zip(samples, (1, 3, 0, 2), strict=False):
        order = found.logits[number].argsort(descending=True)
        labels = [model.labels[i] for i in order]
        best = one["top_classes"]["classifications"]
        assert [row["label"] for row in best] == labels
        assert [row["confidence"] for row in best] == pytest.approx(
            found.probabilities[number][order].tolist(), rel=1e-4
        )
        assert [row["score"] for row in best] == pytest.approx(found.logits[number][order].tolist(), rel=1e-4)
        assert one["prediction"] == best[0]
        truth = files[number].parent.name
        assert one["ground_truth"] == {"_cls": "Classification", "label": truth}
        assert one["correct"] is (labels[0] == truth)
        assert one["own_rank"] == 1 + labels.index(truth)
        assert one["own_probability"] == pytest.approx(
            float(found.probabilities[number][model.class_index(truth)]), rel=1e-4
        )
    assert samples[2]["name"] == "the first"
    assert samples[2]["note"] == "a note"
    assert not {"ground_truth", "correct", "scan_number"} & samples[4].keys()
    in_memory = np.asarray(PILImage.open(files[0]).convert("RGB").rotate(180))
    assert np.array_equal(np.asarray(PILImage.open(tmp_path / "out" / "images" / "p2.png")), in_memory)
    known = {"filepath", "tags", "name", "note", *FIELDS}
    assert all(key in known or key.startswith("heatmap_") for one in samples for key in one)


def test_heatmaps_lie_where_the_network_looks(made: Study, model: Model, tmp_path: Path) -> None:
    _, samples = read(made.to_fiftyone(tmp_path / "out"))
    (file,) = (one["filepath"] for one in samples if one.get("study_image") == "p0")
    best = predict(model, [file]).top(0)
    methods = ["gradcam", "saliency"]
    # The first image is a mistake, which a study explains against its runner-up.
    (sample,) = (one for one in samples if one.get("study_image") == "p0")
    versus = explain(model, [file], best[0]["class"], methods, versus=best[1]["class"])
    rival = explain(model, [file], best[1]["class"], methods)
    box = rival.entries[0].image.box(model.input)
    assert 0 < box.left < box.right < SIZE[0]
    entries = [*((entry, "versus") for entry in versus.entries), *((entry, "other") for entry in rival.entries)]
    for entry, kind in entries:
        stored = sample[f"heatmap_{entry.method}_{kind}"]
        assert stored["label"] == best[0 if kind == "versus" else 1]["label"]
        assert stored.get("versus") == (best[1]["label"] if kind == "versus" else None)
        values, cells = array(stored["map"]), entry.values.numpy()
        assert values.shape == SIZE[::-1]
        assert values.dtype == np.float32
        for y in range(SIZE[1]):
            for x in range(SIZE[0]):
                row = (y + 0.5 - box.top) / box.height * cells.shape[0]
                column = (x + 0.5 - box.left) / box.width * cells.shape[1]
                inside = 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]
                wanted = cells[int(row), int(column)] if inside else 0.0
                assert values[y, x] == pytest.approx(wanted, abs=1e-6)
        high = np.abs(values).max()
        assert stored["range"] == pytest.approx([-high if values.min() < 0 else 0.0, high])
    (right,) = (one for one in samples if one.get("study_image") == "p2")
    assert right["heatmap_gradcam"]["label"] == right["prediction"]["label"]
    assert "versus" not in right["heatmap_gradcam"]
    signed = [stored for one in samples for key, stored in one.items() if key.startswith("heatmap_gradcam_versus")]
    assert signed
    for stored in signed:
        assert stored["range"][0] in (0.0, -stored["range"][1])
        assert array(stored["map"]).min() >= stored["range"][0]


def test_units_and_concepts_are_those_that_count(made: Study, tmp_path: Path) -> None:
    _, samples = read(made.to_fiftyone(tmp_path / "out"))
    (sample,) = (one for one in samples if one.get("study_image") == "p1")
    store = Store.open(made.folder)
    item, maps = store.get("ablation/relu2"), store.get("activations/relu2")
    assert item is not None
    assert maps is not None
    changes, peaks = item.document["own"]["p1"]["change"], maps.tensors()["activations"][1].amax((1, 2)).tolist()
    rows = [row for row in sample["units"]["classifications"] if row["address"].startswith("relu2:")]
    order = sorted((unit for unit in range(8) if changes[unit]), key=lambda unit: -abs(changes[unit]))
    assert [row["address"] for row in rows] == [f"relu2:{unit}" for unit in order]
    assert [row["change"] for row in rows] == [changes[unit] for unit in order]
    assert [row["peak"] for row in rows] == pytest.approx([peaks[unit] for unit in order])
    assert [row["label"] for row in rows] == [called(f"relu2:{unit}", made.annotations) for unit in order]
    assert any("edges" in row["label"] for one in samples if "units" in one for row in one["units"]["classifications"])
    (key,) = (item.key for item in store.items() if item.key.endswith("/images"))
    item, maps = store.get(key), store.get("activations/relu2~nmf")
    assert item is not None
    assert maps is not None
    values = item.document["images"][1]["values"]
    peaks = maps.tensors()["activations"][1].amax((1, 2)).tolist()
    assert sample["concepts"]["classifications"]
    for row in sample["concepts"]["classifications"]:
        number = int(row["address"].removeprefix("relu2~nmf:"))
        assert row["contribution"] == values[number]
        assert row["peak"] == pytest.approx(peaks[number])


def test_a_study_without_a_scan(model: Model, tmp_path: Path) -> None:
    PILImage.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    done = study(model, [tmp_path / "a.png", tmp_path / "a.png"], tmp_path / "s", plan=PLAN)
    card, samples = read(done.to_fiftyone(tmp_path / "out"))
    assert [(one["filepath"], one["study_image"], one["tags"]) for one in samples] == [
        (str(tmp_path / "a.png"), "p0", ["study"]), (str(tmp_path / "a.png"), "p1", ["study"]),
    ]  # fmt: skip
    assert card["info"]["notes"] == []


def test_files_of_a_stranger_are_left_out_with_a_note(sent: Study, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(sent.folder), "--to", "fiftyone", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "add --images FOLDER" in result.output
    card, samples = read(tmp_path / "out")
    # The one in memory is the study's own.
    assert [one["filepath"] for one in samples] == ["images/p2.png"]
    (note,) = card["info"]["notes"]
    assert note.startswith("6 images left out, such as ")  # two of the study, four of the scan


def test_images_are_read_where_they_are_named(made: Study, sent: Study, tmp_path: Path) -> None:
    shutil.copytree(made.folder.parent / "images", tmp_path / "copies")
    card, samples = read(sent.to_fiftyone(tmp_path / "out", images=[tmp_path / "copies"]))
    assert card["info"]["notes"] == []
    assert sum(Path(one["filepath"]).is_relative_to(tmp_path / "copies") for one in samples) == 4
    assert len(samples) == 5


def test_an_image_that_changed_is_left_out(sent: Study, made: Study, tmp_path: Path) -> None:
    shutil.copytree(made.folder.parent / "images", tmp_path / "copies")
    files = sorted((tmp_path / "copies").rglob("*.png"))
    for file in files[:2]:
        PILImage.new("RGB", SIZE).save(file)
    card, samples = read(sent.to_fiftyone(tmp_path / "out", images=[tmp_path / "copies"]))
    assert [one.get("study_image") for one in samples] == [None, "p1", "p2"]
    assert ["run the study again" in note or "scan again" in note for note in card["info"]["notes"]] == [True, True]


def test_a_data_set_without_an_image_is_not_written(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PILImage.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    done = study(model, [tmp_path / "a.png"], tmp_path / "s", plan=PLAN)
    monkeypatch.setenv("INNERSIGHT_STATE", str(tmp_path / "none"))
    with pytest.raises(InnersightError, match=r"would hold no image.*add --images FOLDER"):
        done.export("fiftyone", tmp_path / "out")
    assert not (tmp_path / "out").exists()


SET = "UPDATE items SET document = json_set(document, '$.{}', {}) WHERE key = '{}'"
BEST = "UPDATE scan_predictions SET best = x'{}' WHERE number = 3"


@pytest.mark.parametrize(
    ("change_", "said"),
    [
        (SET.format("images[0].width", "'wide'", "images"), "its images"),
        (SET.format("images[0].box[2]", -5, "images"), "its images"),
        (SET.format("images[0].prediction[0].class", 99, "images"), "its images"),
        (SET.format("images[2].id", "'../../evil'", "images"), "its images"),  # it names a file that is written
        (SET.format("images[2].id", "'p1'", "images"), "its images"),
        (SET.format("entries[0].method", 7, "heatmaps"), "its images"),
        (BEST.format("630000000000803f0000003f"), "predictions of the scan"),  # class 99
        (BEST.format("000000000000803f00000040"), "predictions of the scan"),  # a probability of 2
        ("UPDATE scan_images SET class = 99 WHERE number = 3", "predictions of the scan"),
    ],
)
def test_what_innersight_does_not_write(change_: str, said: str, sent: Study, made: Study, tmp_path: Path) -> None:
    change(sent.folder, change_)
    with pytest.raises(InnersightError, match=f"{said}.* is not as innersight writes it"):
        sent.export("fiftyone", tmp_path / "out", images=[made.folder.parent / "images"])
    assert not (tmp_path / "out").exists()


def test_names_of_a_stranger_are_neither_opened_nor_fields(sent: Study, made: Study, tmp_path: Path) -> None:
    heatmaps = Store.open(sent.folder).get("heatmaps")
    assert heatmaps is not None
    at = [row["image"] for row in heatmaps.document["entries"]].index("p0")
    change(sent.folder, SET.format(f"entries[{at}].method", "'$a.b/../_c'", "heatmaps"))
    secret = tmp_path / "secret.png"
    PILImage.new("RGB", SIZE).save(secret)
    change(sent.folder, "UPDATE scan_images SET name = ?, stamp = '', digest = '' WHERE number = 3", str(secret))
    _, samples = read(sent.to_fiftyone(tmp_path / "out", images=[made.folder.parent / "images"]))
    assert "secret" not in json.dumps(samples)
    assert any(key.startswith("heatmap__a_b_c") for one in samples for key in one)
    assert all(key.replace("_", "").isalnum() and key.isascii() for one in samples for key in one)


def test_a_scan_of_another_network_is_not_mixed_in(tmp_path: Path) -> None:
    toons.write(tmp_path / "images", per_class=1)
    scan(tiny("twice"), tmp_path / "images", ["stem"], out=tmp_path / "s")
    assert load_scan(tiny("in-place"), tmp_path / "s") is None
    files = sorted((tmp_path / "images").rglob("*.png"))[:2]
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    done = study(tiny("in-place"), files, tmp_path / "t", plan=PLAN)
    _, samples = read(done.to_fiftyone(tmp_path / "out"))
    assert [one["tags"] for one in samples] == [["study"], ["study"]]
