"""A report of some units over some images holds these, and nothing of the others."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from networks import image, tiny
from PIL import Image as PILImage
from sheet_reader import read_tiles

from innersight.errors import InnersightError
from innersight.storage.study_folder import StudyFolder
from innersight.study import Plan, Study, study
from innersight.web.selection import selected


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    plan = Plan(layers=("relu1", "relu2"), units=2, steps=2, seeds=1, negatives=0, methods=("gradcam",))
    images = [image(i) for i in (1, 2, 3)]
    done = study(tiny("in-place"), images, tmp_path_factory.mktemp("selection") / "s", plan=plan)
    done.render()
    return done


def test_other_images_and_layers_are_left_out(made: Study) -> None:
    web = StudyFolder(made.folder)
    whole, _ = selected(web, (), ())
    found, files = selected(web, ["relu2:0-1", "relu2:3"], ["p2", "blobs 1"])
    assert {key for key in found if key.startswith("layer/")} == {"layer/relu2"}
    layer, before = found["layer/relu2"], whole["layer/relu2"]
    assert list(layer["activations"]) == ["p0", "p2"]
    assert layer["compare"]["images"] == ["p0", "p2"]
    assert [(row["position"], row["strength"]) for row in layer["compare"]["rank"]] == [
        (place, [row["strength"][0], row["strength"][2]])
        for place, row in enumerate(before["compare"]["rank"], 1)
        if row["unit"] in (0, 1, 3)
    ]
    assert {entry["image"] for entry in found["heatmaps"]["entries"]} == {"p0", "p2"}
    about = found["study"]
    assert [row["id"] for row in about["images"]] == ["p0", "p2"]
    assert about["start"] == "#/x?units=relu2:0,relu2:1,relu2:3&imgs=p2,p0"
    tiles = read_tiles(web.path("web", "files"), whole["study"]["seen"])
    image = np.asarray(PILImage.open(io.BytesIO(files[about["seen"]["files"][0]])))
    width = about["seen"]["tile"][0]
    for x, i in enumerate((0, 2)):
        assert np.array_equal(image[:, x * width : (x + 1) * width], tiles[i])
    assert whole["study"]["seen"]["files"][0] not in files
    assert "blobs 2" not in json.dumps(found)


def test_other_units_of_a_layer_are_left_out(made: Study, tmp_path: Path) -> None:
    web = StudyFolder(made.folder)
    whole, _ = selected(web, (), ())
    before = whole["layer/relu2"]
    first, second = before["patterns"]["units"]
    other = next(unit for unit in range(before["units"]) if unit not in (first, second))
    found, files = selected(web, [f"relu2:{second}", f"relu2:{other}"], [])
    layer = found["layer/relu2"]
    assert layer["shown"] == [second, other]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for key, maps in layer["activations"].items():
        tiles = read_tiles(web.path("web", "files"), before["activations"][key]["sheet"])
        assert maps["sheet"]["at"] == [second, other]
        assert np.array_equal(read_tiles(tmp_path, maps["sheet"]), [tiles[second], tiles[other]])
        assert maps["lo"] == before["activations"][key]["lo"]
    assert layer["patterns"]["units"] == [second]
    drawn = read_tiles(web.path("web", "files"), before["patterns"]["sheet"])
    assert np.array_equal(read_tiles(tmp_path, layer["patterns"]["sheet"]), [drawn[1]])
    assert layer["patterns"]["score"] == [before["patterns"]["score"][1]]
    assert {row["unit"] for row in layer["compare"]["rank"]} == {second, other}
    assert layer["connections"]["units"] == [second]
    assert layer["connections"]["rows"] == [before["connections"]["rows"][1]]
    # Nothing that is about no unit of them.
    assert "classes" in whole
    assert "classes" not in found
    assert "selected units" in next(entry["why"] for entry in found["study"]["missing"] if entry["what"] == "classes")


def test_one_image_has_nothing_to_compare(made: Study) -> None:
    found, _ = selected(StudyFolder(made.folder), (), ["p1"])
    assert found["layer/relu1"]["compare"] is None
    assert found["layer/relu1"]["activations"].keys() == {"p1"}
    assert "start" not in found["study"]


@pytest.mark.parametrize(
    ("units", "images", "why"),
    [
        (["relu9:1"], [], "did you mean relu"),
        (["relu1:99"], [], "has the units 0 to"),
        (["a b"], [], "not an address"),
        ([], ["p9"], "no image 'p9'"),
    ],
)
def test_what_the_study_does_not_have_is_said(units: list[str], images: list[str], why: str, made: Study) -> None:
    with pytest.raises(InnersightError, match=why):
        selected(StudyFolder(made.folder), units, images)


def test_a_whole_layer_can_be_chosen(made: Study) -> None:
    documents, _ = selected(StudyFolder(made.folder), ["relu2"], [])
    assert "start" not in documents["study"]
    assert {key for key in documents if key.startswith("layer/")} == {"layer/relu2"}


def test_no_file_outside_the_study_is_read(made: Study, tmp_path: Path) -> None:
    web = Path(shutil.copytree(made.folder / "web", tmp_path / "web"))
    (tmp_path / "secret.png").write_text("secret")
    study = json.loads((web / "documents" / "study.json").read_text())
    study["images"][0]["original"]["file"] = "../../secret.png"
    (web / "documents" / "study.json").write_text(json.dumps(study))
    with pytest.raises(InnersightError, match="lacks the file"):
        selected(StudyFolder(tmp_path), [], [])


def test_the_report_holds_the_selection(made: Study, tmp_path: Path) -> None:
    part = made.report(tmp_path / "part.html", units=["relu2:1"], images=["p0"]).read_text()
    whole = made.report(tmp_path / "whole.html").read_text()
    assert len(part) < len(whole)
    assert set(re.findall(r'data-document="([^"]*)"', whole)) - set(re.findall(r'data-document="([^"]*)"', part)) == {
        "layer/relu1",
        "layer/relu2~nmf",
        "classes",
        "concepts",
    }
