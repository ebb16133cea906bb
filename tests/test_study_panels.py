"""What a study says about units beyond maps and patterns: other seeds, what switches them off, causes, examples."""

import json
import re
import shutil
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from sheet_reader import read_tiles

import innersight as ins
from innersight import toons
from innersight.ablation import ablate
from innersight.activations import activations
from innersight.connections import connections
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.scan import scan
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.study.compute import compute
from innersight.study.panel import parse_request
from innersight.study.panels.ablation import ablated
from innersight.study.request import StudyRequest
from innersight.trust import trust

PLAN = Plan(layers=("relu1", "relu2"), units=3, steps=2, negatives=2)
IMAGES = [image(1), image(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images in folders named like classes."""
    root = tmp_path_factory.mktemp("images")
    labels = tiny("in-place").labels
    for i in range(12):
        path = root / labels[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        image(20 + i).display(tiny("in-place").input).save(path)
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Study:
    out = tmp_path_factory.mktemp("done") / "study"
    model = tiny("in-place")
    study(model, IMAGES, out, plan=PLAN)
    scan(model, folder, ["relu1", "relu2"], out=out, examples=4)
    again = study(model, IMAGES, out, plan=PLAN)
    # The examples of two layers, trust, novelty, mistakes, and natural patterns of classes.
    assert again.computed == 6
    return again


@pytest.fixture(scope="module")
def web(done: Study) -> Path:
    return done.render()


def layer(web: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((web / "documents" / "layer" / f"{name}.json").read_text())
    return found


def test_the_field_is_the_measured_one(web: Path) -> None:
    truth = receptive_fields(tiny("in-place"), PLAN.layers)["relu2"]
    field = layer(web, "relu2")["field"]
    assert {key: tuple(value) for key, value in field.items()} == vars(truth)


def test_other_seeds_and_negatives_have_a_tile_each(web: Path) -> None:
    patterns = layer(web, "relu1")["patterns"]
    assert patterns["others"]["each"] == 1
    others = read_tiles(web / "files", patterns["others"]["sheet"])
    shown = read_tiles(web / "files", patterns["sheet"])
    assert others.shape == shown.shape
    assert not (others == shown).all((1, 2, 3)).any()
    negatives = layer(web, "relu1")["negatives"]
    assert negatives["units"] == patterns["units"][:2]
    assert negatives["sheet"]["count"] == 2


def test_ablation_is_what_ablate_says(web: Path) -> None:
    model = tiny("in-place")
    truth = ablate(model, IMAGES, "relu2")
    found = layer(web, "relu2")["ablation"]
    best = truth.logits.argmax(1).tolist()
    for i, number in enumerate(best):
        assert found["own"][f"p{i}"]["label"] == model.labels[number]
        assert found["own"][f"p{i}"]["change"] == pytest.approx(truth.change[i, :, number].tolist(), rel=1e-3)
    for entry in found["classes"]:
        rows = truth.rows(entry["class"])
        assert entry["mean"] == pytest.approx(
            truth.change[rows][:, :, entry["class"]].mean(0).tolist(), rel=1e-3, abs=1e-6
        )


def test_connections_are_what_connections_says(web: Path) -> None:
    found = layer(web, "relu2")["connections"]
    assert found["units"] == layer(web, "relu2")["patterns"]["units"]
    truth = connections(tiny("in-place"), "relu2:" + ",".join(map(str, found["units"])), IMAGES)
    assert [(one["direction"], one["by"], one["layer"]) for one in found["links"]] == [
        (link.direction, link.by, link.layer) for link in truth.links
    ]
    assert {("in", "attribution", "relu1"), ("out", "attribution", "class")} <= {
        (link.direction, link.by, link.layer) for link in truth.links
    }
    for unit, rows in zip(found["units"], found["rows"], strict=True):
        for link, row in zip(truth.links, rows, strict=True):
            best = truth.rank(link, unit, 8)
            assert [one["unit"] for one in row] == [one["unit"] for one in best]
            assert [one["value"] for one in row] == pytest.approx([one["value"] for one in best], rel=1e-3)


def test_trust_is_measured_on_the_scanned_images(web: Path, folder: Path) -> None:
    found = json.loads((web / "documents" / "trust.json").read_text())
    methods = PLAN.settled(tiny("in-place")).methods
    truth = trust(tiny("in-place"), folder, methods)
    assert found["images"] == 12
    assert found["methods"].keys() == set(methods)
    for name, one in found["methods"].items():
        assert one["standing"] == truth.standing(name)
        assert one["why"] == truth.verdict(name)
    assert found["sentence"] == truth.sentence


def test_trust_in_the_images_of_a_study_is_measured_once(tmp_path: Path) -> None:
    # Twelve images of memory, made anew for each run as a script does.
    run = partial(study, tiny("in-place"), out=tmp_path / "s", plan=Plan(layers=("relu1",), units=0))
    seen: list[tuple[int, int, str]] = []
    assert run(images=[image(i) for i in range(12)], progress=lambda *what: seen.append(what)).computed > 0
    # Trust reports from within.
    within = [done for done, _, words in seen if words == Key("trust").words()]
    assert within == sorted(within)
    assert len(set(within)) > 10
    again = run(images=[image(i) for i in range(12)])
    assert again.computed == 0
    assert json.loads((again.render() / "documents" / "trust.json").read_text())["images"] == 12


def test_a_study_says_why_no_unit_could_be_switched_off() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[0] = torch.nan
    found, _ = ablated(model, IMAGES, "relu1")
    assert "not finite" in found["why"]
    assert found["own"] == {}


def test_without_ten_images_the_study_says_what_trust_takes(tmp_path: Path) -> None:
    plan = Plan(layers=("relu1",), units=0)
    web = study(tiny("in-place"), IMAGES, tmp_path / "s", plan=plan).render()
    missing = {
        entry["what"]: entry["why"] for entry in json.loads((web / "documents/study.json").read_text())["missing"]
    }
    assert "10 images" in missing["trust"]
    assert "connections" in missing


def test_the_runner_up_is_explained_and_set_against(web: Path) -> None:
    entries = json.loads((web / "documents" / "heatmaps.json").read_text())["entries"]
    truth = explain(tiny("in-place"), IMAGES, None, ("gradcam",), versus="runner-up").entries
    for i, one in enumerate(truth):
        own = [e["target"] for e in entries if e["image"] == f"p{i}" and e["method"] == "gradcam"]
        assert [(t["class"], t["rival"]) for t in own] == [
            (one.target, None),
            (one.target, one.rival),
            (one.rival, None),
        ]


def test_the_scan_in_the_folder_is_shown(web: Path, done: Study, folder: Path) -> None:
    truth = scan(tiny("in-place"), folder, ["relu1"], examples=4)
    tally = truth.layers["relu1"]
    found = layer(web, "relu1")["scan"]
    assert found["images"] == 12
    assert found["dead"] == torch.where(tally.dead)[0].tolist()
    assert found["positive"] == pytest.approx((tally.positive / 12).tolist())
    assert found["selectivity"]["best"] == tally.selectivity["best"].tolist() if tally.selectivity else False
    labels = {label for row in found["classes"] for label, _, _ in row}
    assert labels == set(tiny("in-place").labels[:2])
    examples = layer(web, "relu1")["examples"]
    assert examples["why"] is None
    tiles = read_tiles(web / "files", examples["sheet"])
    assert len(tiles) == len(examples["rows"]) == examples["masks"]["count"]
    units = layer(web, "relu1")["patterns"]["units"]
    assert [row["unit"] for row in examples["rows"]] == sorted(
        (row["unit"] for row in examples["rows"]), key=units.index
    )
    for unit in units:
        shown = [row["value"] for row in examples["rows"] if row["unit"] == unit and row["band"] == "top"]
        assert shown == pytest.approx([e.value for e in truth.examples(f"relu1:{unit}", limit=6)])


def test_without_the_images_the_examples_say_so(tmp_path: Path, folder: Path) -> None:
    gone = tmp_path / "images"
    shutil.copytree(folder, gone)
    model = tiny("in-place")
    scan(model, gone, ["relu1"], out=tmp_path / "s", examples=4)
    shutil.rmtree(gone)
    plan = Plan(layers=("relu1",), units=2, steps=1, negatives=0)
    found = layer(study(model, IMAGES, tmp_path / "s", plan=plan).render(), "relu1")
    assert found["examples"]["rows"] == []
    assert "can no longer be read" in found["examples"]["why"]
    assert found["scan"]["images"] == 12
    assert found["negatives"] is None


def test_a_scan_of_another_network_is_not_shown_as_examples(tmp_path: Path, folder: Path) -> None:
    scan(tiny("in-place"), folder, ["relu1"], out=tmp_path / "s", examples=4)
    other = tiny("in-place")
    with torch.no_grad():
        next(other.net.parameters()).mul_(2)
    plan = Plan(layers=("relu1",), units=2, steps=1, negatives=0)
    found = layer(study(other, IMAGES, tmp_path / "s", plan=plan).render(), "relu1")
    assert found["examples"] is None
    assert found["scan"] is None


def test_a_study_goes_on_where_methods_cannot_be_tested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InnersightError("it cannot be read")

    # By import: in the package `study` is the function.
    monkeypatch.setattr(import_module("innersight.trust"), "trust", refuse)
    monkeypatch.setattr(import_module("innersight.connections"), "connections", refuse)
    images = [image(i) for i in range(10)]
    web = study(
        tiny("in-place"), images, tmp_path / "s", plan=Plan(layers=("relu1",), units=2, steps=1, negatives=0)
    ).render()
    found = json.loads((web / "documents" / "trust.json").read_text())
    assert found["sentence"] == "The methods could not be tested: it cannot be read"
    assert found["methods"] == {}
    assert layer(web, "relu1")["connections"]["notes"] == ["it cannot be read"]
    assert layer(web, "relu1")["connections"]["rows"] == [[], []]


def test_a_document_has_the_format_of_the_documents_whatever_its_record_says(tmp_path: Path) -> None:
    made = study(tiny("in-place"), IMAGES, tmp_path / "s", plan=Plan(layers=("relu1",), units=0, concepts=0))
    record = {"format": 1, "scalars": {}, "layers": {}}
    Store.open(made.folder).put("training", {}, record, {}, 0.0)
    found = {path.stem: json.loads(path.read_text())["format"] for path in made.render().glob("documents/*.json")}
    assert found == dict.fromkeys(["study", "heatmaps", "training"], 2)


def test_examples_that_were_asked_for_are_cut_out(tmp_path: Path, folder: Path) -> None:
    model, out = tiny("in-place"), tmp_path / "s"
    study(model, IMAGES, out, plan=Plan(layers=("relu1",), units=1, steps=1, negatives=0))
    truth = scan(model, folder, ["relu1"], out=out, examples=4)
    study(model, IMAGES, out, plan=Plan(layers=("relu1",), units=1, steps=1, negatives=0))
    (known,) = layer(documents_of(out), "relu1")["examples"]["units"]
    unit = next(u for u in range(truth.layers["relu1"].units) if u != known and truth.examples(f"relu1:{u}"))
    wanted = parse_request({"kind": "examples", "layer": "relu1", "units": [unit, known]})
    assert list(compute(out, wanted, model=model)) == ["layer/relu1"]
    found = layer(out / "web", "relu1")["examples"]
    assert found["units"] == sorted([known, unit])
    for own in (unit, known):
        rows = [row for row in found["rows"] if row["unit"] == own]
        top = truth.examples(f"relu1:{own}", limit=6)
        assert [row["value"] for row in rows if row["band"] == "top"] == pytest.approx([e.value for e in top])
        # Each is there once, with the label of its folder.
        assert [row["class"] for row in rows if row["band"] == "top"] == [e.path.parent.name for e in top]
    tiles = read_tiles(out / "web" / "files", found["wholes"])
    assert len(tiles) == len(found["sizes"])
    for row in found["rows"]:
        width, height = found["sizes"][row["image"]]
        whole = PILImage.open(next(folder.glob(f"*/{Path(row['name']).name}"))).convert("RGB")
        whole.thumbnail((160, 160), PILImage.Resampling.LANCZOS)
        shown = tiles[row["image"]][:height, :width].astype(float)
        # It is that image, but for the loss of the sheet's format.
        assert np.abs(shown - np.asarray(whole)).mean() < 12
        left, top_, right, bottom = row["box"]
        assert 0 <= left < right <= 1
        assert 0 <= top_ < bottom <= 1


def test_the_highest_of_a_class_are_those_of_its_images(tmp_path: Path, folder: Path) -> None:
    model, out = tiny("in-place"), tmp_path / "s"
    scan(model, folder, ["relu1"], out=out, examples=1)
    study(model, IMAGES, out, plan=Plan(layers=("relu1",), units=0, steps=1, negatives=0)).render()
    wanted = parse_request({"kind": "examples", "layer": "relu1", "units": [0, 1], "of": 1})
    list(compute(out, wanted, model=model))
    found = layer(out / "web", "relu1")["examples"]
    assert found["units"] == []
    label = model.labels[1]
    assert found["read"] == [{"unit": unit, "of": 1, "images": 6, "total": 6} for unit in (0, 1)]
    files = sorted((folder / label).glob("*.png"))
    for unit in (0, 1):
        peaks = {file.name: float(activations(model, file, ["relu1"]).values["relu1"][0, unit].max()) for file in files}
        rows = [row for row in found["rows"] if row["unit"] == unit]
        order = sorted((name for name in peaks if peaks[name] > 0), key=lambda name: -peaks[name])
        assert [Path(row["name"]).name for row in rows] == order
        assert [row["value"] for row in rows] == pytest.approx([peaks[name] for name in order], abs=1e-5)
        assert {(row["of"], row["class"], row["band"]) for row in rows} <= {(1, label, "top")}
    for of, why in ((3, "no scanned image is labelled"), (99, "no class 99")):
        request = parse_request({"kind": "examples", "layer": "relu1", "units": [0], "of": of})
        with pytest.raises(InnersightError, match=why):
            asked(out, request, model)


def test_a_report_of_units_contains_their_examples_or_says_why(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "s"
    toons.write(images, per_class=1)
    model = ins.load("toon", device="cpu")
    first, *others = sorted(images.glob("*/*.png"))
    truth = scan(model, images, ["stage1"], out=out, examples=2)
    plan = Plan(layers=("stage1",), units=0, steps=1, methods=("gradcam",), concepts=0, trust=0)
    done, page = study(model, [first], out, plan=plan), tmp_path / "part.html"
    one, two = [unit for unit in range(truth.layers["stage1"].units) if truth.examples(f"stage1:{unit}")][:2]
    done.report(page, units=[f"stage1:{one}"])
    examples = embedded(page, "layer/stage1")["examples"]
    assert examples["units"] == [one]
    assert {row["unit"] for row in examples["rows"]} == {one}
    assert "examples" not in {
        entry["what"] for entry in embedded(page, "study")["missing"] if "cut out" in entry["why"]
    }
    for file in others:
        file.unlink()
    done.report(page, units=[f"stage1:{two}"])
    assert embedded(page, "layer/stage1")["examples"]["rows"] == []
    missing = {entry["what"]: entry["why"] for entry in embedded(page, "study")["missing"]}
    assert "could not be cut out" in missing["examples"]
    assert "no such file" in missing["examples"]


def asked(out: Path, request: StudyRequest, model: Model) -> None:
    request.check(json.loads((out / "web" / "documents" / "study.json").read_text()))
    list(compute(out, request, model=model))


def embedded(report: Path, key: str) -> dict[str, Any]:
    """Return a document of a report."""
    found = re.search(rf'data-document="{re.escape(key)}"[^>]*>(.*?)</script>', report.read_text(), re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


def documents_of(folder: Path) -> Path:
    """Return the folder `web` of a study, written anew."""
    return Study.open(folder).render()
