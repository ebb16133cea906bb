"""The error explorer: which images are looked at, and what mistakes have in common, on planted cases."""

from __future__ import annotations

import importlib
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from scipy import stats

from innersight.errors import InnersightError
from innersight.scan import ClassScores, PredictedImage, ScanPredictions, scan
from innersight.scan.record import Record
from innersight.scan.rows import ScratchRows
from innersight.sources import load
from innersight.statistics import van_elteren
from innersight.storage.store import Store
from innersight.study import Plan
from innersight.study import study as make
from innersight.study.documents import write_documents
from innersight.study.mistakes import LEAST, chosen, differences, turns
from innersight.toons import CLASSES, draw


def test_van_elteren_of_one_stratum_is_mann_whitney() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (40, 3)).astype(float)
    first = rng.random(40) < 0.4
    effect, p = van_elteren(values, first, np.zeros(40, np.int64))
    for i in range(3):
        other = stats.mannwhitneyu(values[first, i], values[~first, i], method="asymptotic", use_continuity=False)
        assert effect[i] == pytest.approx(other.statistic / (first.sum() * (~first).sum()))
        assert p[i] == pytest.approx(other.pvalue)


def test_strata_take_away_what_only_they_explain() -> None:
    """One class is darker and wrong more often: within each class brightness makes no difference."""
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1], 100)
    values = (10.0 * strata + rng.random(200))[:, None]
    first = np.concatenate([rng.random(100) < 0.2, rng.random(100) < 0.8])
    assert stats.mannwhitneyu(values[first, 0], values[~first, 0]).pvalue < 1e-6
    assert van_elteren(values, first, strata)[1][0] > 0.05


def test_a_constant_column_is_no_difference() -> None:
    effect, p = van_elteren(np.ones((20, 1)), np.arange(20) < 10, np.zeros(20, np.int64))
    assert (effect[0], p[0]) == (0.5, 1.0)


def planted(count: int, shift: float) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    classes = np.arange(4 * count) % 2
    predicted = np.where(np.arange(4 * count) < 2 * count, 1 - classes, classes)
    columns = {"unit": rng.normal(size=(4 * count, 50)), "property": rng.normal(size=(4 * count, 5))}
    columns["property"][predicted != classes, 3] -= shift
    return columns, classes, predicted, np.ones(4 * count, bool)


def test_a_planted_difference_is_found_and_no_other() -> None:
    found = differences(*planted(20, 3.0))
    assert [(row["class"], row["predicted"]) for row in found] == [(None, None), (0, None), (1, None), (0, 1), (1, 0)]
    for row in found:
        assert [(one["kind"], one["number"]) for one in row["rows"]] == [("property", 3)]
        (one,) = row["rows"]
        assert one["effect"] < 0.1
        assert one["wrong"] < one["right"] - 2
        assert one["p"] < 0.05
        assert row["tested"] == 55


def test_nothing_stands_out_where_nothing_was_planted() -> None:
    assert [row["rows"] for row in differences(*planted(20, 0.0))] == [[]] * 5


def test_chance_finds_something_in_at_most_one_of_twenty_studies() -> None:
    rng, false = np.random.default_rng(3), 0
    for _ in range(100):
        classes = np.arange(64) % 2
        predicted = np.where(rng.permutation(64) < 32, 1 - classes, classes)
        columns = {"unit": rng.normal(size=(64, 30)), "property": rng.normal(size=(64, 5))}
        false += any(row["rows"] for row in differences(columns, classes, predicted, np.ones(64, bool)))
    assert false <= 10


def test_too_few_images_are_not_tested() -> None:
    columns, classes, predicted, usable = planted(LEAST // 2, 9.0)
    usable[:3] = False
    assert all(row["class"] is not None for row in differences(columns, classes, predicted, usable)) or not differences(
        columns, classes, predicted, usable
    )
    assert differences(columns, classes, predicted, np.zeros_like(usable)) == []


def image(number: int, class_: int, predicted: int, confidence: float) -> PredictedImage:
    return PredictedImage(number, f"{number}.png", None, class_, ClassScores((predicted,), (1.0,), (confidence,)))


def test_every_group_has_its_turn() -> None:
    images = [image(i, 0, i % 5 != 0, 0.5) for i in range(20)]
    some = turns(images, lambda one: one.predicted, 6)
    assert Counter(one.predicted for one in some) == {True: 3, False: 3}
    assert [one.number for one in some] == [1, 0, 2, 5, 3, 10]


@pytest.fixture(scope="module")
def darkened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toons of four classes, half of them darkened until the network errs; and its study."""
    folder = tmp_path_factory.mktemp("dark")
    for name in CLASSES[:4]:
        (folder / "images" / name).mkdir(parents=True)
        for seed in range(24):
            pixels = draw(name, seed=seed).pixels
            if seed % 2:
                pixels = (pixels * 0.16).astype(np.uint8)
            PILImage.fromarray(pixels).save(folder / "images" / name / f"{seed:02}.png")
    model = load("toon")
    scan(model, folder / "images", ["stage4"], out=folder / "study")
    first = folder / "images" / CLASSES[0] / "00.png"
    make(model, [first], out=folder / "study", plan=Plan(units=0, methods=("saliency",), trust=0, concepts=4))
    return folder / "study"


def test_darkened_images_are_named_as_what_mistakes_have_in_common(darkened: Path) -> None:
    write_documents(Store.open(darkened))
    found: dict[str, Any] = json.loads((darkened / "web" / "documents" / "errors.json").read_text())
    wrong = [one for one in found["images"] if one["class"] != one["best"][0][0]]
    assert len(wrong) >= 2 * LEAST
    assert sum(int(Path(one["name"]).stem) % 2 for one in wrong) >= 0.9 * len(wrong)
    everything = found["differences"][0]
    assert (everything["class"], everything["predicted"]) == (None, None)
    named = {found["properties"][one["number"]]: one for one in everything["rows"] if one["kind"] == "property"}
    assert named["brightness"]["effect"] < 0.1
    assert named["brightness"]["wrong"] < named["brightness"]["right"]
    assert found["summary"]["labelled"] == 96
    assert sum(row[2] for row in found["pairs"]) == 96
    assert found["set"] is not None
    assert len(found["strength"]) == len(found["images"]) == found["sheet"]["count"]


def test_counts_of_classes_are_of_all_confusions(darkened: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("innersight.study.panels.errors"), "PAIRS", 1)
    write_documents(Store.open(darkened))
    found: dict[str, Any] = json.loads((darkened / "web" / "documents" / "errors.json").read_text())
    assert len(found["pairs"]) == 1
    assert found["rest"] + found["pairs"][0][2] == 96
    assert [row[:2] for row in found["classes"] if row[1]] == [[number, 24] for number in range(4)]
    assert sum(row[2] for row in found["classes"]) == 96
    assert sum(row[3] for row in found["classes"]) == round(96 * found["summary"]["accuracy"])


def test_an_image_predicted_as_nothing_is_refused(darkened: Path, tmp_path: Path) -> None:
    store = Store.open(shutil.copytree(darkened, tmp_path / "sent"))
    item = store.get("errors")
    assert item is not None
    item.document["images"][0]["best"] = []
    with closing(sqlite3.connect(tmp_path / "sent" / "index.sqlite")) as db, db:
        db.execute("UPDATE items SET document = ? WHERE key = 'errors'", (json.dumps(item.document),))
    with pytest.raises(InnersightError, match="an image is predicted as nothing"):
        write_documents(Store.open(tmp_path / "sent"))


def test_images_of_no_known_class_are_looked_at_but_never_wrong() -> None:
    scratch = ScratchRows()
    rows = [(0, 0), (0, 1), (-1, 0), (-1, 1), (-1, 1)]
    scratch.add(
        Record(i, f"{i}.png", None, class_, 0, prediction=ClassScores((predicted, 2), (2.0, 1.0), (0.9, 0.1)))
        for i, (class_, predicted) in enumerate(rows)
    )
    found = chosen(ScanPredictions.of(load("toon"), scratch, len(rows)))
    assert {one.number for one in found.images} == {0, 1, 2, 3, 4}
    assert found.controls == {0}
    assert [one.number for one in found.images if one.correct is False] == [1]
