"""A study in other tools: what they read back is what the study holds."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny

from innersight.errors import InnersightError, MissingExtraError
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.study.content import content_of, sheet_of
from innersight.study.exports import exports

TRAIN = {
    "scalars": {"loss": {"step": [0, 10], "value": [2.0, 1.0]}},
    "layers": {"conv1": {"step": [0, 10], "weight_norm": [1.0, 1.5], "dead": [0.0, None]}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    plan = Plan(layers=("relu1", "relu2"), units=3, steps=2, seeds=1, negatives=0, methods=("gradcam",))
    done = study(tiny("in-place"), [image(1), image(2)], tmp_path_factory.mktemp("exports") / "s", plan=plan)
    Store.open(done.folder).put("training", {}, TRAIN, {}, 0.1)
    return done


def test_every_export_is_documented_and_has_a_method() -> None:
    assert set(exports) == {"fiftyone", "tensorboard", "trackio", "wandb"}
    for name in exports:
        assert hasattr(Study, f"to_{name}")
        assert "Write" in str(exports[name].__doc__)


def test_the_content_is_that_of_the_study(made: Study) -> None:
    content = content_of(Store.open(made.folder))
    assert set(content.sheets) == {
        "activations/relu1/p0", "activations/relu1/p1", "activations/relu2/p0", "activations/relu2/p1",
        "patterns/relu1", "patterns/relu2",
        "activations/relu2~nmf/p0", "activations/relu2~nmf/p1", "patterns/relu2~nmf", "concepts/relu2~nmf",
    }  # fmt: skip
    assert content.curves["loss"] == ([0, 10], [2.0, 1.0])
    assert content.curves["dead/conv1"] == ([0], [0.0])
    assert content.by_step()[10] == {"loss": 1.0, "weight_norm/conv1": 1.5}
    points = content.points["relu2"]
    assert len(points.labels) == len(points.vectors) == len(points.sprites) == 3
    item = Store.open(made.folder).get("activations/relu2")
    assert item is not None
    unit = int(points.labels[0].split(":")[1])
    pooled = torch.nn.functional.adaptive_avg_pool2d(item.tensors()["activations"][:, unit], 4).flatten()
    assert torch.equal(points.vectors[0], pooled)


def test_a_sheet_has_every_tile_in_its_place() -> None:
    tiles = np.stack([np.full((2, 3, 3), i, np.uint8) for i in range(5)])
    sheet = sheet_of(tiles)
    assert sheet.shape == (2 * 3, 3 * 4, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 4), (0, 8), (3, 0), (3, 4), (3, 8))] == [0, 1, 2, 3, 4, 255]


def test_tensorboard_reads_it_back(made: Study, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = made.to_tensorboard(tmp_path / "tb")
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 2.0), (10, 1.0)]
    assert "patterns/relu2" in events.Tags()["images"]
    assert "peaks/relu1" in events.Tags()["histograms"]
    assert (folder / "projector_config.pbtxt").read_text().count("sprite") >= 2
    assert (folder / "00000" / "relu1" / "metadata.tsv").read_text().splitlines()[0].startswith("relu1:")


# Their own warnings and threads must not fail this suite, and trackio fixes its folder when it is loaded.
CODE = """
import os, sys
from innersight.study import Study
Study.open(sys.argv[1]).export(sys.argv[2], sys.argv[3])
"""


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_it_is_written_without_a_network(name: str, made: Study, tmp_path: Path) -> None:
    pytest.importorskip(name, reason=f"pip install 'innersight[{name}]'")
    command = [sys.executable, "-c", CODE, str(made.folder), name, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    ending = {"wandb": ".wandb", "trackio": ".db"}[name]
    assert any(path.suffix == ending and path.stat().st_size > 1000 for path in written), written
    assert sum(path.suffix == ".png" for path in written) >= 6


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_library_is_one_sentence(
    name: str, made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    importlib.invalidate_caches()
    with pytest.raises(MissingExtraError, match=rf"pip install 'innersight\[{name}\]'"):
        made.export(name, tmp_path / "out")


def test_an_unknown_export_names_those_there_are(made: Study, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="choose from: fiftyone, tensorboard, trackio, wandb"):
        made.export("nothing", tmp_path)
