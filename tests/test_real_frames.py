"""The main job on real frames: train, look inside, report. Runs where INNERSIGHT_DATA names their folder."""

import json
import os
from pathlib import Path

import pytest

import innersight as ins
from innersight.study import Plan

FRAMES = Path(os.environ.get("INNERSIGHT_DATA", "")) / "simpsons"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        "INNERSIGHT_DATA" not in os.environ or not FRAMES.is_dir(),
        reason="the real frames are not part of the project: set INNERSIGHT_DATA to their folder",
    ),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a network trained shortly on two of the characters."""
    folder = tmp_path_factory.mktemp("frames")
    for name in ("marge_simpson", "krusty_the_clown"):
        (folder / name).mkdir()
        for file in sorted((FRAMES / "train" / name).iterdir()):
            (folder / name / file.name).symlink_to(file)
    out = tmp_path_factory.mktemp("out") / "run"
    cache = tmp_path_factory.mktemp("cache")
    # All epochs: the fifteen frames held out are too few to say when to stop.
    options = {"epochs": 25, "batch": 16, "size": 64, "lr": 0.002, "patience": 0, "cache": cache, "bar": False}
    ins.train(folder, out, net="small:16", report=lambda _: None, **options)
    return out


def test_every_validation_frame_can_be_read_and_predicted(run):
    model = ins.load(f"run:{run}")
    result = ins.predict(model, [FRAMES / "val" / name for name in model.labels])
    summary = result.summary()
    assert result.skipped == ()
    assert summary["images"] == sum(len(list((FRAMES / "val" / name).iterdir())) for name in model.labels)
    assert summary["accuracy"] > 0.75


def test_study_of_two_marge_frames(run, tmp_path):
    frames = sorted((FRAMES / "val" / "marge_simpson").iterdir())[:2]
    made = ins.study(ins.load(f"run:{run}"), frames, tmp_path / "study", plan=Plan(units=4, steps=8))
    report = made.report(tmp_path / "report.html")
    document = json.loads((tmp_path / "study" / "web" / "documents" / "study.json").read_text())
    assert [image["truth"] for image in document["images"]] == ["marge_simpson"] * 2
    # No data set was scanned into it, and none audited.
    assert {entry["what"] for entry in document["missing"]} == {
        "atlas", "diff", "errors", "examples", "findings", "labels", "novelty", "trust",
    }  # fmt: skip
    assert report.stat().st_size > 100_000
