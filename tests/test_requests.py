"""What is requested of a study later lands in it, is what the library computes, and outlives further runs."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from sheet_reader import read_tiles, read_values

from innersight.activations import activations
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.image import load_image
from innersight.predict import predict
from innersight.scan import scan
from innersight.storage.key import Key
from innersight.storage.stamp import stamp
from innersight.storage.store import Store
from innersight.storage.study_folder import StudyFolder
from innersight.study import Plan, Study, study
from innersight.study.compute import compute, requested
from innersight.study.panel import document_of, parse_request, requests
from innersight.study.request import StudyRequest

PLAN = Plan(layers=("relu2",), units=2, steps=2, seeds=1, methods=("gradcam",))
IMAGES = [image(1), image(2)]
FILE = "0123456789abcdef.png"
# One of every kind: what to request, and the documents that show it.
REQUESTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "activations": ({"layer": "conv2"}, {"layer/conv2"}),
    "patterns": ({"layer": "conv2", "units": [3, 0]}, {"layer/conv2"}),
    "negatives": ({"layer": "relu2", "units": [3, 0]}, {"layer/relu2"}),
    "ablation": ({"layer": "conv2"}, {"layer/conv2"}),
    "connections": ({"layer": "conv2", "units": [3, 0, 3]}, {"layer/conv2"}),
    "examples": ({"layer": "conv2", "units": [3, 0]}, {"layer/conv2"}),
    "classes": ({"classes": [2]}, {"classes"}),
    "heatmaps": ({"image": "p1", "methods": ["saliency"], "target": 3, "versus": 1}, {"heatmaps"}),
    "image": ({"file": FILE, "name": "drop <b>ped.png"}, {"study", "layer/relu2", "heatmaps"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(**{**vars(PLAN), "units": 0})
    folder = tmp_path_factory.mktemp("later")
    done = study(tiny("in-place"), IMAGES, folder / "s", plan=plan)
    (folder / "scanned").mkdir()
    for i in range(6):
        PILImage.fromarray(np.asarray(image(20 + i).pil)).save(folder / "scanned" / f"{i}.png")
    scan(tiny("in-place"), folder / "scanned", ["conv2"], out=done.folder)
    done = study(tiny("in-place"), IMAGES, folder / "s", plan=plan)
    done.render()
    return done.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(made, tmp_path / "s"))
    (copy / "images").mkdir()
    PILImage.fromarray(np.asarray(image(5).pil)).save(copy / "images" / FILE)
    return copy


def request(kind: str) -> StudyRequest:
    return parse_request({"kind": kind, **REQUESTS[kind][0]})


def computed(folder: Path, *wanted: StudyRequest) -> list[str]:
    return [key for one in wanted for key in compute(folder, one, model=tiny("in-place"))]


def document(folder: Path, key: str) -> dict[str, Any]:
    kind, _, name = key.partition("/")
    path = folder / "web" / "documents" / kind / quote(name, safe="") if name else folder / "web" / "documents" / kind
    found: dict[str, Any] = json.loads(Path(f"{path}.json").read_text())
    return found


def whole(folder: Path) -> None:
    """Every document is JSON, every file it names is there, and the stamp says what the index holds."""
    from innersight.storage.sheet_names import files_of

    for path in (folder / "web" / "documents").rglob("*.json"):
        for name in files_of(json.loads(path.read_text())):
            assert (folder / "web" / "files" / name).is_file(), path
    listed = document(folder, "study")
    assert listed["stamp"] == stamp(StudyFolder(folder))
    for layer in listed["layers"]:
        assert layer["document"] is None or document(folder, layer["document"])["name"] == layer["name"]


def test_a_request_that_fails_later_does_not_end_the_study(folder: Path) -> None:
    bad = parse_request({"kind": "heatmaps", "image": "p1", "methods": ["saliency", "nonsense"]})
    with pytest.raises(InnersightError, match="nonsense"):
        computed(folder, bad)
    again = study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 0}))
    assert any("nonsense" in sentence and "requested earlier" in sentence for sentence in again.skipped)
    assert requested(Store.open(folder)) == []


def test_what_was_ended_before_it_was_shown_is_shown_by_the_next_request(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules[compute.__module__], "write_documents", _killed)
        with pytest.raises(KeyboardInterrupt):
            computed(folder, request("activations"))
    computed(folder, request("classes"))
    whole(folder)
    assert document(folder, "layer/conv2")["name"] == "conv2"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_every_kind_is_tested_here_and_documented() -> None:
    # What takes an image out again has its own test.
    assert requests().keys() == {*REQUESTS, "forget"}
    assert all(kind.__doc__ for kind in requests().values())


@pytest.mark.parametrize("kind", REQUESTS)
def test_what_is_asked_lands_in_the_study_and_outlives_another_run(kind: str, folder: Path) -> None:
    before = set(Store.open(folder).names())
    written = computed(folder, request(kind))
    whole(folder)
    assert REQUESTS[kind][1] <= {*written, "study"}
    added = set(Store.open(folder).names()) - before - {"requested"}
    assert added
    # The same again computes nothing.
    assert computed(folder, request(kind)) == []
    again = study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 0}))
    assert again.computed == 0
    assert added <= set(Store.open(folder).names())
    assert requested(Store.open(folder)) == [request(kind)]
    # All of it made anew says the same as the part that was written.
    parts = {key: document(folder, key) for key in set(written)}
    again.render()
    whole(folder)
    for key, part in parts.items():
        assert {**document(folder, key), "created": None} == {**part, "created": None}


@pytest.mark.parametrize("kind", REQUESTS)
def test_other_weights_make_it_again(kind: str, folder: Path) -> None:
    computed(folder, request(kind))
    added = [name for name in Store.open(folder).names() if "=" in name or "conv2" in name or "@" in name]
    model = tiny("in-place")
    with torch.no_grad():
        model.net.head.bias[0] += 1e-3
    again = study(model, IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 0}))
    assert again.reused == 0
    if kind == "examples":  # the scan is of the network as it was
        assert any("no data set was scanned with this network" in sentence for sentence in again.skipped)
        return
    # How usual an image is, too, was measured by the scan.
    assert {name for name in added if not name.startswith("novelty@")} <= set(Store.open(folder).names())


def test_maps_are_those_of_the_library(folder: Path) -> None:
    computed(folder, request("activations"), request("image"))
    found = document(folder, "layer/conv2")
    images = [*IMAGES, load_image(folder / "images" / FILE)]
    truth = activations(tiny("in-place"), images, ["conv2"]).values["conv2"]
    ids = ["p0", "p1", "d01234567"]
    assert list(found["activations"]) == ids
    for values, name in zip(truth, ids, strict=True):
        span = values.amax((1, 2)) - values.amin((1, 2))
        off = (read_values(folder / "web" / "files", found["activations"][name]) - values).abs().amax((1, 2))
        assert (off <= span / 255 + 1e-6).all()
    assert sorted(row["unit"] for row in found["compare"]["rank"]) == list(range(truth.shape[1]))


def test_heatmaps_are_those_of_the_library(folder: Path) -> None:
    computed(folder, request("heatmaps"))
    entries = document(folder, "heatmaps")["entries"]
    (entry,) = [e for e in entries if e["method"] == "saliency"]
    model = tiny("in-place")
    (truth,) = explain(model, IMAGES[1], 3, ["saliency"], versus=1).entries
    assert (entry["image"], entry["target"]["class"], entry["target"]["rival"]) == ("p1", 3, 1)
    back = read_values(folder / "web" / "files", {"sheet": entry["sheet"], "lo": [entry["lo"]], "hi": [entry["hi"]]})
    assert float((back[0] - truth.values).abs().max()) <= (entry["hi"] - entry["lo"]) / 255 + 1e-7


def test_an_added_image_is_one_of_the_study(folder: Path) -> None:
    computed(folder, request("image"))
    row = document(folder, "study")["images"][2]
    model = tiny("in-place")
    said = predict(model, [load_image(folder / "images" / FILE)])
    assert (row["id"], row["name"]) == ("d01234567", "drop <b>ped.png")
    assert [entry["class"] for entry in row["prediction"]] == [entry["class"] for entry in said.top(0)]
    assert [entry["logit"] for entry in row["prediction"]] == pytest.approx([e["logit"] for e in said.top(0)], abs=1e-5)
    seen = document(folder, "study")["seen"]
    assert read_tiles(folder / "web" / "files", seen).shape[0] == seen["count"] == 3
    assert {entry["image"] for entry in document(folder, "heatmaps")["entries"]} == {"p0", "p1", "d01234567"}


def test_an_added_image_leaves_with_all_that_was_computed_for_it_alone(folder: Path) -> None:
    before = {key: document(folder, key) for key in ("study", "layer/relu2", "heatmaps")}
    (name,) = {parse_request({"kind": "image", **REQUESTS["image"][0]}).id}  # type: ignore[attr-defined]
    computed(folder, request("image"), request("activations"), parse_request({"kind": "ablation", "layer": "relu2"}))
    computed(folder, parse_request({"kind": "heatmaps", "image": name, "methods": ["saliency"]}))
    assert document(folder, "layer/relu2")["ablation"]["own"].keys() == {"p0", "p1", name}
    assert computed(folder, parse_request({"kind": "forget", "image": name})) == ["study"]
    whole(folder)
    assert not (folder / "images" / FILE).exists()
    assert not any(name in key for key in Store.open(folder).names())
    assert [one.kind for one in requested(Store.open(folder))] == ["activations", "ablation"]
    for key in ("layer/relu2", "heatmaps"):
        after = document(folder, key)
        assert (
            {**after, "ablation": None} == {**before[key], "ablation": None}
            if "units" in after
            else after == before[key]
        )
    assert document(folder, "study")["images"] == before["study"]["images"]
    # A further run knows nothing of it either.
    again = study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 0}))
    assert (again.computed, again.skipped) == (0, ())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"kind": "forget", "image": "p0"}, "p0 cannot be removed"),
        ({"kind": "forget", "image": "d00000000"}, "no image 'd00000000'"),
        ({"kind": "ablation", "layer": "head"}, "a single location"),
        ({"kind": "ablation", "layer": "conv9"}, "no layer 'conv9'"),
        ({"kind": "negatives", "layer": "conv2", "units": [999]}, "no unit 999"),
    ],
)
def test_a_request_is_checked_against_the_study(data: dict[str, Any], why: str, folder: Path) -> None:
    with pytest.raises(InnersightError, match=why):
        parse_request(data).check(document(folder, "study"))


def test_an_added_image_that_is_gone_is_told_and_forgotten(folder: Path) -> None:
    computed(
        folder, request("image"), parse_request({"kind": "heatmaps", "image": "d01234567", "methods": ["saliency"]})
    )
    (folder / "images" / FILE).unlink()
    again = study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 0}))
    assert any(FILE in sentence and "no such file" in sentence for sentence in again.skipped)
    assert not [name for name in Store.open(folder).names() if "d01234567" in name]
    assert requested(Store.open(folder)) == []
    again.render()
    whole(folder)


def test_a_plan_that_grows_over_what_was_asked_shows_each_pattern_once(folder: Path) -> None:
    computed(folder, parse_request({"kind": "patterns", "layer": "relu2", "units": [1, 4]}))
    alone = document(folder, "layer/relu2")["patterns"]
    assert alone["units"] == [1, 4]
    study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "units": 8})).render()
    found = document(folder, "layer/relu2")["patterns"]
    assert sorted(found["units"]) == list(range(tiny("in-place").net.conv2.out_channels))
    # The company of a pattern does not change it.
    asked, planned = (item for item in Store.open(folder).items() if item.key.startswith("patterns/relu2/"))
    at = planned.document["units"].index(4)
    assert torch.equal(asked.tensors()["images"][1], planned.tensors()["images"][at])


class Stopped(Exception):  # noqa: N818 - what a cancelled job raises
    pass


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_job_stopped_in_the_middle_leaves_the_study_whole(at: int, folder: Path) -> None:
    told: list[tuple[float, str]] = []

    def report(share: float, what: str) -> None:
        told.append((share, what))
        if len({what for _, what in told}) > at:
            raise Stopped

    with pytest.raises(Stopped):
        list(compute(folder, request("image"), model=tiny("in-place"), progress=report))
    whole(folder)
    assert len(requested(Store.open(folder))) == min(at, 1)
    computed(folder, request("image"))
    whole(folder)
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] < 1


def test_a_reader_never_finds_half_a_study(folder: Path) -> None:
    """Between any two steps of the work the documents on disk fit together."""
    steps: Iterator[str] = compute(folder, request("image"), model=tiny("in-place"))
    for _ in steps:
        whole(folder)
    for _ in compute(folder, request("activations"), model=tiny("in-place")):
        whole(folder)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            {"kind": "nothing"},
            "kinds are ablation, activations, classes, connections, examples, forget, heatmaps, image, negatives, "
            "patterns",
        ),
        ({}, "kinds are"),
        ({"kind": "activations"}, "layer"),
        ({"kind": "activations", "layer": "a", "more": 1}, "more"),
        ({"kind": "patterns", "layer": "a", "units": []}, "units"),
        ({"kind": "patterns", "layer": "a", "units": [-1]}, "units"),
        ({"kind": "image", "file": "../../secret.png", "name": "a"}, "file"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(data: dict[str, Any], why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        parse_request(data)


def test_what_cannot_be_had_again_is_said(folder: Path) -> None:
    with pytest.raises(InnersightError, match="names no known origin"):
        list(compute(folder, request("activations")))
    model = tiny("in-place")
    with torch.no_grad():
        model.net.head.bias[0] += 1e-3
    with pytest.raises(InnersightError, match=r"not those that .* was made with; run the study again"):
        list(compute(folder, request("activations"), model=model))
    with pytest.raises(InnersightError, match="has no layer"):
        list(compute(folder, parse_request({"kind": "activations", "layer": "relu9"}), model=tiny("in-place")))
    with Store.open(folder).locked(), pytest.raises(InnersightError, match="another process is working on this study"):
        list(compute(folder, request("activations"), model=tiny("in-place")))
    assert requested(Store.open(folder)) == []


def test_images_from_files_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    PILImage.fromarray(np.asarray(image(3).pil)).save(file)
    done = study(tiny("in-place"), [file], tmp_path / "s", plan=Plan(**{**vars(PLAN), "units": 0}))
    done.render()
    assert computed(done.folder, request("activations")) == ["layer/conv2"]
    assert str(tmp_path) not in (done.render() / "documents" / "study.json").read_text()
    PILImage.fromarray(np.asarray(image(4).pil)).save(file)
    with pytest.raises(InnersightError, match="the image has changed; run the study again"):
        computed(done.folder, request("classes"))


def test_items_name_their_documents(folder: Path) -> None:
    computed(folder, *(request(kind) for kind in REQUESTS))
    Study.open(folder).render()
    for name in Store.open(folder).names():
        key = document_of(Key.parse(name))
        assert key is None or document(folder, key)
    cost = document(folder, "study")["cost"]
    assert {kind: entry["per"] for kind, entry in cost.items()} == {
        "activations": "layer", "patterns": "unit", "classes": "class", "heatmaps": "map", "connections": "unit",
        "negatives": "unit", "ablation": "layer", "examples": "unit",
    }  # fmt: skip
    assert all(entry["seconds"] > 0 for entry in cost.values())
    # What is computed of a single added image is no measure of a layer over all.
    own = [item for item in Store.open(folder).items() if item.key.startswith("activations/")]
    assert any(item.key.startswith("activations@") for item in Store.open(folder).items())
    assert cost["activations"]["seconds"] == pytest.approx(sum(item.seconds for item in own) / len(own))
