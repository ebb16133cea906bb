"""What a scan keeps of every image: the predicted classes, and a sample of features."""

from __future__ import annotations

import importlib
import math
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image as PILImage
from torch import Tensor, nn

from innersight.activations import compute
from innersight.errors import InnersightError
from innersight.heads import multilabel, similarity
from innersight.image import load_image, stack
from innersight.input_spec import InputSpec
from innersight.inputs import content_of
from innersight.layers import last_rectified
from innersight.model import Model
from innersight.predict import predict
from innersight.scan import Batching, ClassScores, ScanPredictions, load_scan, scan
from innersight.scan.features import FeatureSample
from innersight.scan.record import Record
from innersight.scan.rows import ScratchRows
from innersight.scan.statistics.bands import priority
from innersight.sources import load
from innersight.statistics import wilson

COUNT = 24
LABELS = ("ash", "birch", "cedar", "dogwood")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        place = folder / ("ash", "birch", "unknown")[i % 3]
        place.mkdir(exist_ok=True)
        PILImage.fromarray(rng.integers(0, 256, (30, 26, 3)).astype(np.uint8)).save(place / f"{i:02}.png")
    return folder


@pytest.fixture
def model() -> Model:
    return replace(tiny("in-place"), labels=LABELS)


def of(model: Model, rows: Sequence[tuple[int, int, float]], trained: bool | None = None) -> ScanPredictions:
    """Predictions as if a scan had found these: class, predicted class, confidence."""
    scratch = ScratchRows()
    scratch.add(
        Record(
            number,
            f"{number}.png",
            None,
            class_,
            0,
            prediction=ClassScores((predicted, (predicted + 1) % 4), (2.0, 1.0), (confidence, 0.0), rank=1),
            trained=trained,
        )
        for number, (class_, predicted, confidence) in enumerate(rows)
    )
    return ScanPredictions.of(model, scratch, len(rows))


def test_they_are_those_of_predict(model: Model, folder: Path) -> None:
    found, other = scan(model, folder, ["conv1"]).predictions, predict(model, folder)
    assert found is not None
    summary = other.summary()
    assert summary is not None
    assert (found.images, found.labelled, found.not_finite) == (COUNT, 16, 0)
    assert found.accuracy == summary["accuracy"]
    assert list(found.interval) == summary["interval"]
    assert found.confusion().equal(other.confusion())
    assert found.summary()["confusions"] == summary["confusions"]
    for one, (i, name) in zip(found, enumerate(other.names), strict=True):
        assert Path(one.name).name == Path(name).name
        best = other.top(i, 5)
        assert list(one.scores.classes) == [row["class"] for row in best]
        assert one.scores.probabilities == pytest.approx([row["probability"] for row in best], abs=1e-6)
        true = other.ground_truth[i]
        assert one.class_ == true
        assert one.scores.own == (pytest.approx(float(other.probabilities[i, true]), abs=1e-6) if true >= 0 else None)
        rank = 1 + int((other.logits[i] > other.logits[i, true]).sum())
        assert one.scores.rank == (rank if true >= 0 else None)


def test_accuracy_and_calibration_by_hand(model: Model) -> None:
    # Of seven images of known class five are right; the two of 0.9 and 0.95 share a bin.
    rows = [(0, 0, 0.95), (0, 1, 0.9), (1, 1, 0.35), (1, 1, 0.3), (2, 2, 1.0), (2, 3, 0.55), (3, 3, 0.05), (-1, 0, 0.5)]
    found = of(model, rows)
    assert (found.images, found.labelled, found.correct) == (8, 7, 5)
    assert found.accuracy == pytest.approx(5 / 7)
    assert found.interval == pytest.approx(wilson(5, 7))
    bins = {round(one.low, 1): one for one in found.calibration()}
    assert len(bins) == 10
    assert {low: (one.images, one.correct) for low, one in bins.items() if one.images} == {
        0.0: (1, 1), 0.3: (2, 2), 0.5: (1, 0), 0.9: (3, 2),
    }  # fmt: skip
    assert bins[0.9].confidence == pytest.approx((0.95 + 0.9 + 1.0) / 3)
    assert math.isnan(bins[0.1].accuracy)
    gaps = [(1, 1 - 0.05), (2, 1 - 0.325), (1, 0.55), (3, abs(2 / 3 - 0.95))]
    assert found.calibration_error() == pytest.approx(sum(n * gap for n, gap in gaps) / 7)
    assert found.pairs() == [(1, 1, 2), (0, 0, 1), (0, 1, 1), (2, 2, 1), (2, 3, 1), (3, 3, 1)]
    assert found.predicted_counts() == {0: 2, 1: 3, 2: 1, 3: 2}
    classes = found.summary()["classes"]
    assert classes["ash"] == {"images": 2, "recall": 0.5, "precision": 1.0}
    assert classes["birch"]["precision"] == pytest.approx(2 / 3)


def test_questions(model: Model) -> None:
    rows = [(0, 0, 0.95), (0, 1, 0.9), (1, 1, 0.35), (1, 0, 0.3), (-1, 0, 0.5)]
    found = of(model, rows)

    def numbers(**question: Any) -> list[int]:
        return [one.number for one in found.select(**question)]

    assert numbers() == [0, 1, 2, 3, 4]
    assert numbers(class_=0) == [0, 1]
    assert numbers(class_=-1) == [4]
    assert numbers(predicted=0) == [0, 3, 4]
    assert numbers(correct=False) == [1, 3]
    assert numbers(correct=True) == [0, 2]
    assert numbers(confidence=(0.35, 0.9)) == [1, 2, 4]
    assert numbers(order="confident") == [0, 1, 4, 2, 3]
    assert numbers(order="doubtful", limit=2) == [3, 2]
    assert [one.number for one in found.numbered([3, 9, 0])] == [3, 0]
    assert [one.correct for one in found] == [True, False, True, False, None]


def test_questions_that_cannot_be(model: Model) -> None:
    found = of(model, [(0, 0, 0.9), (0, 1, 0.4)])
    with pytest.raises(InnersightError, match="limit=0: give 1 or more"):
        found.select(limit=0)


def test_images_of_no_known_class_have_no_accuracy(model: Model) -> None:
    found = of(model, [(-1, 0, 0.5), (-1, 1, 0.5)])
    assert found.accuracy is None
    assert found.calibration() == ()
    assert found.calibration_error() is None
    assert found.summary()["interval"] is None
    assert "no accuracy" in str(found.figure().get_suptitle())


def test_more_than_a_page(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("innersight.scan.predictions"), "PAGE", 3)
    found = of(model, [(0, 0, 0.5)] * 8)
    assert [one.number for one in found] == list(range(8))
    assert len(found.numbered(range(8))) == 8


def test_scores_that_are_no_numbers(folder: Path, model: Model) -> None:
    class Broken(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net, self.calls = net, 0

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.net(x)
            if len(x) > 1:
                scores = scores.clone()
                scores[2, 1] = torch.nan
            return scores

    broken = Model(Broken(model.net).eval(), model.input, LABELS, "broken", "broken")
    found = scan(broken, folder, ["net.conv1"]).predictions
    assert found is not None
    assert (found.images, found.not_finite) == (COUNT - 1, 1)
    assert 2 not in [one.number for one in found]


def test_networks_without_class_scores_keep_none(model: Model, folder: Path, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    grid = Model(net, model.input, LABELS, "grid", "grid")
    found = scan(grid, folder, ["1"], out=tmp_path)
    assert found.predictions is None
    (note,) = [note for note in found.notes if "no class scores" in note]
    assert "grid" in note
    assert found.to_json()["predictions"] is None
    again = load_scan(grid, tmp_path)
    assert again is not None
    assert again.predictions is None


def test_scores_that_stand_for_no_probability(folder: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    given = load(net, input=InputSpec(16, 16), labels=LABELS[:2], head=similarity(torch.eye(6)[:2]))
    found = scan(given, folder, ["1"]).predictions
    assert found is not None
    assert found.accuracy == predict(given, folder).summary()["accuracy"]  # type: ignore[index]
    assert found.calibration() == ()
    first = next(iter(found))
    assert first.confidence is None
    assert first.scores.own is None
    assert first.scores.rank in (1, 2)
    assert -1 <= first.scores.scores[0] <= 1


def test_multi_label_networks(folder: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    given = load(net, input=InputSpec(16, 16), labels=LABELS[:3], head=multilabel())
    one = next(iter(scan(given, folder, ["1"]).predictions or ()))
    assert one.scores.probabilities == pytest.approx(torch.tensor(one.scores.scores).sigmoid().tolist(), abs=1e-6)


def test_images_the_network_was_trained_on(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scan(model, folder, ["conv1"]).predictions.trained_on is None  # type: ignore[union-attr]
    files = sorted((folder / "ash").iterdir())[:3]
    known = frozenset(digest for file in files for digest in content_of(file.read_bytes(), load_image(file)))
    engine = importlib.import_module("innersight.scan.engine")
    monkeypatch.setattr(engine, "learned_by", lambda run: known)
    found = scan(model, folder, ["conv1"]).predictions
    assert found is not None
    assert found.trained_on == 3
    assert {Path(one.name).name for one in found if one.trained} == {file.name for file in files}
    assert "trained on 3 of them" in str(found.figure().get_suptitle())


def test_features_are_means_of_the_last_rectified_layer(model: Model, folder: Path) -> None:
    found = scan(model, folder, ["conv1"], batching=Batching(batch=5)).features
    assert found is not None
    assert found.layer == last_rectified(model)
    assert found.numbers.tolist() == list(range(COUNT))
    files = sorted(folder.rglob("*.png"))
    maps = compute(model, stack([load_image(file) for file in files], model.input), [found.layer])[found.layer]
    torch.testing.assert_close(found.values, maps.mean((2, 3)))


def test_features_are_of_a_bounded_sample(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = scan(model, folder, ["conv1"], examples=1).features
    monkeypatch.setattr(importlib.import_module("innersight.scan.features"), "FEATURES", 6)
    lowest = sorted(range(COUNT), key=lambda n: int(priority(torch.tensor([n]))))[:6]
    for batching in (Batching(batch=4, shard=7), Batching(batch=32)):
        result = scan(model, folder, ["conv1"], examples=1, batching=batching)
        found = result.features
        assert every is not None
        assert found is not None
        assert found.numbers.tolist() == sorted(lowest)
        torch.testing.assert_close(found.values, every.values[found.numbers])
        assert set(lowest) <= set(result.records)
    kept = scan(model, folder, ["conv1"], out=tmp_path).features
    read = load_scan(model, tmp_path)
    assert kept is not None
    assert read is not None
    assert read.features is not None
    assert read.features.values.equal(kept.values)
    assert read.features.numbers.equal(kept.numbers)


@pytest.mark.parametrize("change", [lambda x: x[:, :-1], lambda x: x * torch.nan, lambda x: x.double()])
def test_features_of_a_stranger(change: Callable[[Tensor], Tensor], model: Model, folder: Path) -> None:
    found = scan(model, folder, ["conv1"], examples=1).features
    assert found is not None
    FeatureSample(model).load({"numbers": found.numbers, "values": found.values})
    with pytest.raises(ValueError, match="features"):
        FeatureSample(model).load({"numbers": found.numbers, "values": change(found.values)})


def test_a_network_without_a_grid_has_no_features(folder: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5), nn.ReLU(), nn.Linear(5, 4))
    found = scan(load(net, input=InputSpec(8, 8), labels=LABELS), folder)
    assert found.features is None
    assert found.predictions is not None


FOREIGN = [
    "UPDATE scan_predictions SET predicted = 4 WHERE number = 3",
    "UPDATE scan_predictions SET predicted = 'ash' WHERE number = 3",
    "UPDATE scan_predictions SET confidence = 1.5 WHERE number = 3",
    "UPDATE scan_predictions SET own = 'much' WHERE number = 3",
    "UPDATE scan_predictions SET rank = 'first' WHERE number = 3",
    "UPDATE scan_predictions SET best = x'00' WHERE number = 3",
    "UPDATE scan_predictions SET best = x'' WHERE number = 3",
    "UPDATE scan_predictions SET best = 'text' WHERE number = 3",
    # Class 99 with a score of 1 and a probability of 0.5.
    "UPDATE scan_predictions SET best = x'630000000000803f0000003f' WHERE number = 3",
    # A score that is NaN.
    "UPDATE scan_predictions SET best = x'010000000000c07f0000003f' WHERE number = 3",
]


@pytest.mark.parametrize("change", FOREIGN)
def test_rows_of_a_stranger(change: str, model: Model, folder: Path, tmp_path: Path) -> None:
    scan(model, folder, ["conv1"], out=tmp_path / "study")
    with closing(sqlite3.connect(tmp_path / "study" / "index.sqlite")) as db, db:
        db.execute(change)
    found = load_scan(model, tmp_path / "study")
    assert found is not None
    with pytest.raises(InnersightError, match=r"innersight writes it|another type"):
        list(found.predictions or ())


def test_figures_and_files(model: Model, folder: Path, tmp_path: Path) -> None:
    found = scan(model, folder, ["conv1"]).predictions
    assert found is not None
    for name in ("errors.png", "errors.json", "errors.safetensors"):
        assert found.save(tmp_path / name).stat().st_size > 100
    assert "ScanPredictions" in repr(found)


def test_a_study_of_an_older_scan_still_opens(model: Model, folder: Path, tmp_path: Path) -> None:
    scan(model, folder, ["conv1"], out=tmp_path / "old")
    with closing(sqlite3.connect(tmp_path / "old" / "index.sqlite")) as db, db:
        db.execute("DROP TABLE scan_predictions")
        db.execute("UPDATE scan SET settings = replace(settings, '\"format\": 7', '\"format\": 6')")
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    assert load_scan(model, tmp_path / "old") is None
    with pytest.raises(InnersightError, match="format was 6"):
        scan(model, folder, ["conv1"], out=tmp_path / "old")
    found = scan(model, folder, ["conv1"], out=tmp_path / "copy", overwrite=True)
    assert found.predictions is not None
    assert found.predictions.images == COUNT
