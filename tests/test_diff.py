"""Two networks as a page: predictions, units matched, patterns and maps in pairs, one scale; studies of strangers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image, tiny
from torch import nn
from train_fixture import QUICK, Said, draw
from typer.testing import CliRunner

from innersight.activations import activations
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.input_spec import InputSpec
from innersight.matching import match
from innersight.model import Model
from innersight.predict import predict
from innersight.scan import scan
from innersight.scan.crops import resized
from innersight.sources import load
from innersight.storage.store import Store
from innersight.study import Plan, Study, keep_matching, study
from innersight.study.compared import compared, spread
from innersight.study.cutting import BESIDE, SIDE
from innersight.train import train

PLAN = Plan(layers=("relu1", "relu2"), units=2, steps=2, seeds=1, methods=("gradcam",), concepts=0, trust=0, size=24)
IMAGES = [image(seed) for seed in range(4)]


def document(made: Study) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.render() / "documents" / "diff.json").read_text())
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[Model, Model]:
    return tiny("in-place", seed=1), tiny("in-place")


@pytest.fixture(scope="module")
def made(pair: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory) -> Study:
    before, after = pair
    return study(after, IMAGES, tmp_path_factory.mktemp("diff") / "s", plan=PLAN, compare=[before])


def sheet(found: dict[str, Any], at: int) -> tuple[float, float]:
    return found["lo"][at], found["hi"][at]


def test_everything_is_what_the_functions_say_of_both_networks(pair: tuple[Model, Model], made: Study) -> None:
    before, after = pair
    found = document(made)
    (other,), own = found["networks"], found["own"]
    for model, side in ((before, other), (after, own)):
        scores = predict(model, IMAGES)
        labels = [model.labels[n] for n in scores.logits.argmax(1).tolist()]
        assert [one["label"] for one in side["predictions"]] == labels
        best = scores.probabilities.amax(1).tolist()
        assert [one["probability"] for one in side["predictions"]] == pytest.approx(best, rel=1e-4)
    # The class that the study's network predicts, by both.
    targets = predict(after, IMAGES).logits.argmax(1).tolist()
    maps = [[one.values for one in explain(model, IMAGES, targets, ["gradcam"]).entries] for model in (before, after)]
    for i in range(4):
        for side, values in zip((other, own), maps, strict=True):
            ends = float(values[i].min()), float(values[i].max())
            assert sheet(side["heat"]["maps"], i) == pytest.approx(ends, rel=1e-4)
        high = max(float(values[i].abs().max()) for values in maps)
        assert found["heat_scales"][i]["limit"] == pytest.approx(high, rel=1e-4)
    matched = match(before, after, IMAGES, ["relu1", "relu2"])
    assert [row["layer"] for row in other["matched"]] == ["relu1", "relu2"]
    for k, row in enumerate(other["matched"]):
        layer = matched[row["layer"]]
        assert row["counts"] == layer.counts()
        assert row["died"] == layer.died()
        assert row["cka"] == pytest.approx(layer.cka)
        shown, rows = found["layers"][k], layer.rows()
        for at, unit in enumerate(shown["units"]):
            said = other["layers"][k]["rows"][at]
            assert said["verdict"] == rows[unit]["verdict"]
            assert said["before"] == rows[unit]["before"]
            partner = unit if said["before"] is None else said["before"]
            assert other["layers"][k]["units"][at] == partner
            peaks = activations(after, IMAGES, [row["layer"]]).values[row["layer"]]
            best_image = int(peaks[:, unit].amax((1, 2)).argmax())
            assert shown["images"][at] == best_image
            ends = peaks[best_image, unit]
            assert sheet(own["maps"][str(k)], at)[1] == pytest.approx(float(ends.max()), rel=1e-4)
            theirs = activations(before, IMAGES, [row["layer"]]).values[row["layer"]][best_image, partner]
            assert sheet(other["maps"][str(k)], at)[1] == pytest.approx(float(theirs.max()), rel=1e-4)
            limit = max(float(ends.abs().max()), float(theirs.abs().max()))
            assert found["map_scales"][k][at]["limit"] == pytest.approx(limit, rel=1e-4)
        assert own["patterns"][str(k)]["count"] == other["patterns"][str(k)]["count"] == 2
    assert other["seen"] is None
    assert other["why"] is None
    assert other["epoch"] is None


def test_a_network_beside_itself_differs_in_nothing(pair: tuple[Model, Model], tmp_path: Path) -> None:
    after = pair[1]
    found = document(study(after, IMAGES, tmp_path / "s", plan=PLAN, compare=[after]))
    (other,), own = found["networks"], found["own"]
    assert other["predictions"] == own["predictions"]
    assert other["heat"]["maps"] == own["heat"]["maps"]
    assert other["maps"] == own["maps"]
    assert other["patterns"] == own["patterns"]
    for row in other["matched"]:
        assert (row["born"], row["moved"], row["died"]) == ([], [], [])
        assert row["cka"] == pytest.approx(1)


def test_a_further_run_keeps_it_and_others_take_its_place(pair: tuple[Model, Model], tmp_path: Path) -> None:
    before, after = pair
    first = study(after, IMAGES, tmp_path / "s", plan=PLAN, compare=[before])
    again = study(after, IMAGES, tmp_path / "s", plan=PLAN)
    assert again.computed == 0
    assert len(document(again)["networks"]) == 1
    more = study(after, IMAGES, tmp_path / "s", plan=PLAN, compare=[before, tiny("in-place", seed=2)])
    assert more.computed == 1
    assert len(document(more)["networks"]) == 2
    assert first.computed > 1


def test_networks_of_other_kinds_are_compared_as_far_as_they_go(pair: tuple[Model, Model], tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    labels = ("cedar", "oak")
    other = load(net, input=InputSpec(20, 20, fit="squash"), labels=labels)
    found = document(study(pair[1], IMAGES, tmp_path / "s", plan=PLAN, compare=[other]))
    (side,) = found["networks"]
    assert "relu1" in side["why"]
    assert side["matched"] == []
    assert side["layers"] == []
    # It sees the whole image, at another size.
    assert side["seen"]["tile"] == [20, 20]
    known = [i for i, one in enumerate(found["own"]["predictions"]) if one["label"] == "cedar"]
    assert side["heat"]["images"] == known
    assert {one["label"] for one in side["predictions"]} <= set(labels)


def test_the_epochs_that_a_run_kept_are_compared_with_it(tmp_path: Path) -> None:
    for name in ("blue", "green", "red"):
        draw(tmp_path / "images", name, 12)
    options: Any = {**QUICK, "keep_epochs": True, "cache": tmp_path / "cache", "epochs": 2}
    train(tmp_path / "images", tmp_path / "run", report=Said(), **options)
    model = load(f"run:{tmp_path / 'run'}")
    plan = Plan(units=0, methods=("gradcam",), concepts=0, trust=0)
    files = [tmp_path / "images" / name / "000.png" for name in ("blue", "green", "red")]
    found = document(study(model, files, tmp_path / "s", plan=plan, compare=["epochs"]))
    assert [one["epoch"] for one in found["networks"]] == [0, 1, 2]
    assert str(tmp_path) not in json.dumps(found)
    for one in found["networks"]:
        scores = predict(load(f"run:{tmp_path / 'run'}?epoch={one['epoch']}"), files)
        assert [row["probability"] for row in one["predictions"]] == pytest.approx(
            scores.probabilities.amax(1).tolist(), rel=1e-4
        )
    # No patterns where the plan draws none.
    assert found["own"]["patterns"] == {}


def test_scores_that_are_no_numbers_are_compared_with_nothing(pair: tuple[Model, Model], tmp_path: Path) -> None:
    broken = tiny("in-place", seed=1)
    with torch.no_grad():
        broken.net.head.bias.fill_(torch.nan)
    made = study(pair[1], IMAGES, tmp_path / "s", plan=PLAN, compare=[broken])
    assert [one for one in made.skipped if "scores that are not finite" in str(one)]
    assert document(made)["networks"] == []


def test_what_cannot_be_compared_is_refused(pair: tuple[Model, Model], tmp_path: Path) -> None:
    after = pair[1]
    with pytest.raises(InnersightError, match="no weights of single epochs"):
        study(after, IMAGES, tmp_path / "s", plan=PLAN, compare=["epochs"])
    with pytest.raises(InnersightError, match="9 networks to compare with: give at most 8"):
        compared(after, [after] * 9)
    with pytest.raises(InnersightError, match="compare is 3: give networks"):
        compared(after, 3)
    with pytest.raises(InnersightError, match="nowhere"):
        compared(after, ["run:nowhere"])
    assert not (tmp_path / "s").exists()
    assert len(compared(after, [after, pair[0], after])) == 2
    assert spread(range(100), 8) == [0, 14, 28, 42, 57, 71, 85, 99]


def scanned(folder: Path, model: Model, images: Path, layers: list[str]) -> Path:
    for seed in range(5):
        image(seed).display(model.input).save(images / f"{seed}.png")
    (images / "broken.png").write_bytes(b"no image")
    scan(model, images, layers, out=folder)
    return folder


def test_examples_of_both_come_from_the_same_scanned_images(pair: tuple[Model, Model], tmp_path: Path) -> None:
    before, after = pair
    images = tmp_path / "images"
    images.mkdir()
    # Of the layers shown, one was not scanned: the networks are run once more all the same.
    folder = scanned(tmp_path / "s", after, images, ["relu1"])
    files = [images / f"{seed}.png" for seed in range(4)]
    found = document(study(after, files, folder, plan=PLAN, compare=[before]))
    everything = [images / f"{seed}.png" for seed in range(5)]
    (other,) = found["networks"]
    for model, side, units in ((after, found["own"], found["layers"]), (before, other, other["layers"])):
        assert side["examples"]["images"] == 5
        assert side["examples"]["why"] is None
        for k, row in enumerate(units):
            maps = activations(model, everything, [found["layers"][k]["name"]]).values[found["layers"][k]["name"]]
            shown = side["examples"]["layers"][str(k)]
            assert (shown["each"], shown["sheet"]["count"]) == (BESIDE, BESIDE * len(row["units"]))
            for at, unit in enumerate(row["units"]):
                peaks = sorted((value for value in maps[:, unit].amax((1, 2)).tolist() if value > 0), reverse=True)
                assert shown["peaks"][at] == pytest.approx(peaks[:BESIDE], rel=1e-4)
    # The crop is the one that the scan cuts out, of the network at hand.
    tensors = (Store.open(folder).get("diff//0") or pytest.fail("no item")).tensors()
    truth = scan(before, images, ["relu1"], examples=BESIDE)
    for at, unit in enumerate(other["layers"][0]["units"]):
        best = truth.examples(f"relu1:{unit}")
        for crop, own in zip(truth.crops(f"relu1:{unit}", best), tensors["examples/0"][at], strict=False):
            assert (own.numpy() == resized(crop.masked(), SIDE)).all()
    # A further scan is another set of images; one of them that is gone is a reason.
    image(9).display(after.input).save(images / "9.png")
    scan(after, images, ["relu1"], out=folder, overwrite=True)
    (images / "4.png").unlink()
    gone = document(study(after, files, folder, plan=PLAN, compare=[before]))
    assert "4.png" in gone["own"]["examples"]["why"]
    assert gone["networks"][0]["examples"]["layers"] == {}


def test_a_network_of_another_crop_has_its_own_examples(pair: tuple[Model, Model], tmp_path: Path) -> None:
    after, images = pair[1], tmp_path / "images"
    images.mkdir()
    folder = scanned(tmp_path / "s", after, images, ["relu1"])
    wider = replace(pair[0], input=replace(pair[0].input, mean=(0.1, 0.2, 0.3), height=20, width=20))
    found = document(study(after, [images / "0.png", images / "1.png"], folder, plan=PLAN, compare=[wider]))
    tensors = (Store.open(folder).get("diff//0") or pytest.fail("no item")).tensors()
    truth = scan(wider, images, ["relu1"], examples=BESIDE)
    for at, unit in enumerate(found["networks"][0]["layers"][0]["units"]):
        best = truth.examples(f"relu1:{unit}")
        shown = found["networks"][0]["examples"]["layers"]["0"]["peaks"][at]
        assert shown == pytest.approx([example.value for example in best], rel=1e-4)
        for crop, own in zip(truth.crops(f"relu1:{unit}", best), tensors["examples/0"][at], strict=False):
            assert (own.numpy() == resized(crop.masked(), SIDE)).all()


def test_without_a_comparison_the_study_says_how(pair: tuple[Model, Model], tmp_path: Path) -> None:
    web = study(pair[1], IMAGES[:2], tmp_path / "s", plan=PLAN).render()
    missing = {row["what"]: row["why"] for row in json.loads((web / "documents" / "study.json").read_text())["missing"]}
    assert "--compare OTHER" in missing["diff"]
    assert "--compare epochs" in missing["diff"]


def test_a_matching_becomes_the_page_that_compare_makes(pair: tuple[Model, Model], tmp_path: Path) -> None:
    before, after = pair
    study(after, IMAGES, tmp_path / "s", plan=PLAN)
    found = match(before, after, IMAGES, PLAN.layers)
    keep_matching(found, IMAGES, tmp_path / "s")
    truth = document(study(after, IMAGES, tmp_path / "t", plan=PLAN, compare=[before]))
    mine = json.loads((tmp_path / "s" / "web" / "documents" / "diff.json").read_text())
    assert mine == truth
    # Over other images than those of the study, and kept by a further run of it.
    more = match(before, after, [image(seed) for seed in range(12)], PLAN.layers)
    keep_matching(more, IMAGES, tmp_path / "s")
    again = study(after, IMAGES, tmp_path / "s", plan=PLAN)
    assert again.computed == 0
    (network,) = document(again)["networks"]
    assert network["over"] == 12
    assert network["matched"][0]["cka"] == pytest.approx(more["relu1"].cka)
    assert truth["networks"][0]["over"] == 4
    assert truth["networks"][0]["matched"][0]["cka"] == pytest.approx(found["relu1"].cka)


def test_a_matching_of_another_network_is_refused(pair: tuple[Model, Model], tmp_path: Path) -> None:
    before, after = pair
    study(after, IMAGES, tmp_path / "s", plan=PLAN)
    with pytest.raises(InnersightError, match="a study of another network"):
        keep_matching(match(after, before, IMAGES, ["relu1"]), IMAGES, tmp_path / "s")
    # Where there is no study one is made.
    keep_matching(match(before, after, IMAGES, ["relu1"]), IMAGES, tmp_path / "new")
    (network,) = document(Study.open(tmp_path / "new"))["networks"]
    assert [row["layer"] for row in network["matched"]] == ["relu1"]


def test_a_comparison_that_fails_is_an_error_and_takes_no_place(pair: tuple[Model, Model], tmp_path: Path) -> None:
    before, after = pair
    keep_matching(match(before, after, IMAGES, ["relu1"]), IMAGES, tmp_path / "s")
    broken = tiny("in-place", seed=1)
    broken.net.head.bias.data[0] = torch.inf
    with pytest.raises(InnersightError, match="scores that are not finite"):
        keep_matching(match(broken, after, IMAGES, ["relu2"]), IMAGES, tmp_path / "s")
    (network,) = document(Study.open(tmp_path / "s"))["networks"]
    assert [row["layer"] for row in network["matched"]] == ["relu1"]


def test_the_command_writes_the_page_into_a_study(tmp_path: Path) -> None:
    for seed in range(3):
        image(seed).display(tiny("in-place").input).save(tmp_path / f"{seed}.png")
    out = CliRunner().invoke(
        app, ["match", "small:4", "small:4", str(tmp_path), "--out", str(tmp_path / "s"), "--json"]
    )
    assert out.exit_code == 0, out.output
    assert json.loads(out.stdout)["images"] == 3
    (network,) = json.loads((tmp_path / "s" / "web" / "documents" / "diff.json").read_text())["networks"]
    assert network["over"] == 3
    assert "diff" in (tmp_path / "s" / "report.html").read_text()
    assert not (tmp_path / "s" / "match.png").exists()


@pytest.mark.parametrize("asked", [["match", "small:4", "small:4"], ["dissect", "small:4"]])
def test_the_commands_write_nothing_into_a_study_of_another_network(
    pair: tuple[Model, Model], tmp_path: Path, asked: list[str]
) -> None:
    data, drawn, folder = tmp_path / "data", tmp_path / "masks" / "hair", tmp_path / "s"
    data.mkdir()
    drawn.mkdir(parents=True)
    for seed in range(3):
        image(seed).display(pair[1].input).save(data / f"{seed}.png")
        image(seed + 3).display(pair[1].input).save(drawn / f"{seed}.png")
    study(pair[1], IMAGES[:1], folder, plan=replace(PLAN, units=0))
    masks = ["--masks", str(drawn.parent)] if asked[0] == "dissect" else []
    there = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    out = CliRunner().invoke(app, [*asked, str(data), *masks, "--out", str(folder)])
    assert isinstance(out.exception, InnersightError)
    assert "a study of another network" in str(out.exception)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == there


ODD: list[dict[str, Any]] = [
    {"predictions": []}, {"examples": 3}, {"examples": {"images": 4, "peaks": {"0": [[1.0]]}, "why": None}},
    {"predictions": [{"label": 1, "probability": 0.5, "logit": 0.0}] * 4}, {"heat": None},
    {"heat": {"images": [9], "why": None, "method": "gradcam"}}, {"layers": "x"},
]  # fmt: skip
OTHERS: list[dict[str, Any]] = [
    *ODD, {"name": 3}, {"epoch": -1}, {"why": 3}, {"matched": [{"layer": "relu1"}]},
    {"layers": [{"at": 9, "units": [], "rows": []}]}, {"layers": [{"at": 0, "units": [0], "rows": [{}]}]},
]  # fmt: skip


@pytest.mark.parametrize(("key", "change"), [*(("own", one) for one in ODD), *(("0", one) for one in OTHERS)])
def test_a_strangers_comparison_is_checked(key: str, change: dict[str, Any], made: Study) -> None:
    store = Store.open(made.folder)
    item = store.get(f"diff//{key}") or pytest.fail("no item")
    tensors, settings = item.tensors(), store.settings(item.key) or {}
    store.put(item.key, settings, {**item.document, **change}, tensors, 0.0)
    with pytest.raises(InnersightError) as caught:
        Study.open(made.folder).render()
    assert "\n" not in str(caught.value)
    store.put(item.key, settings, item.document, tensors, 0.0)
    Study.open(made.folder).render()


def test_so_are_its_tensors_and_its_items(made: Study) -> None:
    store = Store.open(made.folder)
    item = store.get("diff//0") or pytest.fail("no item")
    tensors, settings = item.tensors(), store.settings(item.key) or {}
    for odd in ({"heat": tensors["heat"][:1]}, {"maps/0": tensors["maps/0"].flatten()}, {"patterns/0": torch.zeros(2)}):
        store.put(item.key, settings, item.document, {**tensors, **odd}, 0.0)
        with pytest.raises(InnersightError):
            Study.open(made.folder).render()
    store.put(item.key, settings, item.document, tensors, 0.0)
    for name in ("diff//x", "diff//-1", "diff//1/2"):
        store.put(name, {}, item.document, tensors, 0.0)
        with pytest.raises(InnersightError):
            Study.open(made.folder).render()
        store.drop_others({key for key in store.names() if key != name})
    Study.open(made.folder).render()
