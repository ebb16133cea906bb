"""Labels of a dissection in a study: shown as found, kept by further runs, checked where a stranger wrote them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import innersight as ins
from innersight import toons
from innersight.cli import app as command
from innersight.dissection import Dissection, WordLabels, keep_labels
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.study import Plan, Study, study
from innersight.web.selection import selected
from innersight.web.shell import study_web

PLAN = Plan(layers=("stage3",), units=0, steps=1, methods=("gradcam",), concepts=0, trust=0)


@pytest.fixture(scope="module")
def toon() -> Model:
    return ins.load("toon", device="cpu")


@pytest.fixture(scope="module")
def found(toon: Model) -> Dissection:
    return ins.dissect(toon, toons.Drawn(per_class=2), layers=["stage3"], quantile=0.02)


@pytest.fixture(scope="module")
def folder(toon: Model, found: Dissection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "s"
    keep_labels(found, out)
    study(toon, [toons.draw("ambra", 5).pixels], out, plan=PLAN).render()
    return out


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "web" / "documents" / "labels.json").read_text())
    return found


def words(model: Model, layers: dict[str, torch.Tensor]) -> WordLabels:
    low = {name: torch.full_like(values, 0.001) for name, values in layers.items()}
    return WordLabels(model, ("red hair", "water"), layers, low, 40, 0.05)


def test_labels_are_those_of_the_dissection(folder: Path, found: Dissection) -> None:
    (only,) = document(folder)["sets"]
    assert (only["layer"], only["by"], only["images"]) == ("stage3", "parts", found.images)
    truth = [found.row("stage3", unit) for unit in range(128)]
    named = {row["unit"]: row for row in truth if row["label"] is not None}
    assert named
    assert {row["unit"]: row["label"] for row in only["rows"]} == {unit: row["label"] for unit, row in named.items()}
    for row in only["rows"]:
        own = named[row["unit"]]
        assert row["score"] == pytest.approx(own["overlap"])
        assert row["interval"] == pytest.approx(own["interval"])
        assert row["p"] == pytest.approx(own["p"])


def test_words_stand_beside_parts_and_a_further_run_keeps_both(folder: Path, toon: Model) -> None:
    values = torch.full((128, 2), -0.5)
    values[7] = torch.tensor([0.1, 0.75])
    keep_labels(words(toon, {"stage3": values}), folder)
    study(toon, [toons.draw("ambra", 5).pixels], folder, plan=PLAN).render()
    parts, other = sorted(document(folder)["sets"], key=lambda one: one["by"])
    assert (parts["by"], other["by"]) == ("parts", "words")
    assert [row["label"] for row in other["rows"] if row["unit"] == 7] == ["water"]
    assert next(row for row in other["rows"] if row["unit"] == 7)["score"] == pytest.approx(0.75)


def test_a_report_of_some_units_holds_their_labels(folder: Path) -> None:
    units = [row["unit"] for row in document(folder)["sets"][0]["rows"]]
    part, _ = selected(study_web(folder), [f"stage3:{units[0]}"], [])
    assert {row["unit"] for one in part["labels"]["sets"] for row in one["rows"]} == {units[0]}


def test_another_network_is_refused(folder: Path) -> None:
    other = ins.load("toon", device="cpu")
    with torch.no_grad():
        next(other.net.parameters()).mul_(1.5)
    with pytest.raises(InnersightError, match="another network"):
        keep_labels(words(other, {"stage3": torch.zeros(128, 2)}), folder)


def test_the_command_keeps_them(tmp_path: Path) -> None:
    toons.write(tmp_path / "images", per_class=1, masks=tmp_path / "masks")
    words_ = ["dissect", "toon", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "-l", "stage2"]
    done = CliRunner().invoke(command, [*words_, "--out", str(tmp_path / "s")])
    assert done.exit_code == 0, done.output
    with closing(sqlite3.connect(tmp_path / "s" / "index.sqlite")) as db:
        assert db.execute("SELECT key FROM items").fetchall() == [("labels/stage2/parts",)]
    assert (tmp_path / "s" / "dissection.png").is_file()


ROW = {"unit": 1, "label": "hair", "score": 0.5, "interval": None, "p": 0.01}


@pytest.mark.parametrize(
    "planted",
    [
        {"by": "guess"},
        {"by": 3},
        {"rows": 3},
        {"rows": [{**ROW, "unit": 128}]},
        {"rows": [{**ROW, "unit": True}]},
        {"rows": [{**ROW, "label": ["<b>"]}]},
        {"rows": [{**ROW, "score": "1"}]},
        {"rows": [{**ROW, "interval": [1]}]},
        {"images": 1.5},
    ],
)
def test_what_a_stranger_planted_ends_in_one_sentence(planted: dict[str, Any], folder: Path) -> None:
    sound = {"by": "parts", "definition": "d", "images": 3, "rows": [ROW]}
    with closing(sqlite3.connect(folder / "index.sqlite")) as db:
        (before,) = db.execute("SELECT document FROM items WHERE key = 'labels/stage3/parts'").fetchone()
        db.execute(
            "UPDATE items SET document = ? WHERE key = 'labels/stage3/parts'", (json.dumps({**sound, **planted}),)
        )
        db.commit()
        try:
            with pytest.raises(InnersightError, match="labels"):
                Study.open(folder).render()
        finally:
            db.execute("UPDATE items SET document = ? WHERE key = 'labels/stage3/parts'", (before,))
            db.commit()
