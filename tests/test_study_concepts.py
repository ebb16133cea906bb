"""Concepts in a study: sets that a command left and one of its own, images as concepts, addresses that need nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from sheet_reader import read_tiles, read_values

import innersight as ins
from innersight import tap
from innersight.concepts import contribute, read_concepts
from innersight.concepts.images import strongest
from innersight.errors import InnersightError
from innersight.image import stack
from innersight.layers import last_rectified
from innersight.scan import scan
from innersight.storage.key import Key
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.study.compute import compute, requested
from innersight.study.panel import parse_request

LAYER = "relu2"
OWN = f"{LAYER}~nmf"
PLAN = Plan(layers=(LAYER,), units=1, steps=2, seeds=1, methods=("gradcam",), rivals=False, trust=0, concepts=3)
IMAGES = [image(1), image(2), image(3)]
FILE = "0123456789abcdef.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = study(tiny("in-place"), IMAGES, tmp_path_factory.mktemp("own") / "s", plan=PLAN)
    done.render()
    return done.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(made, tmp_path / "s"))
    (copy / "images").mkdir()
    PILImage.fromarray(np.asarray(image(5).pil)).save(copy / "images" / FILE)
    return copy


def document(folder: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "web" / "documents" / f"{key}.json").read_text())
    return found


def requested_now(folder: Path, **request: Any) -> list[str]:
    return list(compute(folder, parse_request(request), model=tiny("in-place")))


def sets_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["address"]: one for one in document(folder, "concepts")["sets"]}


def test_a_study_finds_concepts_of_the_last_rectified_layer_over_its_own_images(made: Path) -> None:
    assert last_rectified(tiny("in-place")) == LAYER
    (found,) = document(made, "concepts")["sets"]
    assert (found["address"], found["images"], found["own"], len(found["concepts"])) == (OWN, 3, True, 3)
    assert sorted(found["order"]) == [0, 1, 2]
    assert found["examples"]["sheet"]["count"] == len(found["examples"]["rows"]) > 0
    assert read_tiles(made / "web" / "files", found["examples"]["sheet"]).shape[1:] == (96, 96, 3)


def test_what_concepts_add_to_a_class_sums_to_its_score(made: Path) -> None:
    model = tiny("in-place")
    shown = document(made, "concepts")["sets"][0]["shown"]
    layered = model.with_concepts(read_concepts(made))
    with tap.untouched(layered):
        suffix = tap.resume(layered, stack(IMAGES, model.input), OWN)
        expected = contribute(suffix, suffix.output.argmax(1))
    for i, (name, row) in enumerate(shown.items()):
        assert name == f"p{i}"
        assert row["class"] == int(expected.classes[i])
        assert row["label"] == model.labels[row["class"]]
        assert row["values"] == pytest.approx(expected.values[i].tolist(), rel=1e-5)
        assert sum(row["values"]) + row["rest"] + row["missing"] == pytest.approx(row["score"], rel=1e-5)
        assert row["groups"] == list(strongest(expected.values[i]))


def test_a_set_is_a_layer_with_maps_and_patterns_of_every_concept(made: Path) -> None:
    rows = document(made, "study")["layers"]
    names = [row["name"] for row in rows]
    assert names[names.index(LAYER) + 1] == OWN
    (row,) = [row for row in rows if row["name"] == OWN]
    plain = rows[names.index(LAYER)]
    assert (row["role"], row["units"], row["reads"], row["grid"]) == ("concept", 3, LAYER, plain["grid"])
    layer = document(made, f"layer/{OWN}")
    maps = ins.activations(tiny("in-place"), IMAGES, OWN, concepts=read_concepts(made)).values[OWN]
    for i in range(3):
        own = layer["activations"][f"p{i}"]
        assert own["hi"] == pytest.approx(maps[i].amax((1, 2)).tolist())
        values = read_values(made / "web" / "files", own)
        assert float((values - maps[i]).abs().max()) <= float(maps[i].max()) / 255
    assert sorted(layer["patterns"]["units"]) == [0, 1, 2]
    assert layer["patterns"]["units"] == document(made, "concepts")["sets"][0]["order"]
    assert layer["field"] == document(made, f"layer/{LAYER}")["field"]


def test_nothing_is_computed_again_by_a_second_run(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "s"))
    again = study(tiny("in-place"), IMAGES, copy, plan=PLAN)
    assert (again.computed, again.skipped) == (0, ())


REQUESTS: list[dict[str, Any]] = [
    {"kind": "ablation", "layer": OWN},
    {"kind": "activations", "layer": OWN},
    {"kind": "connections", "layer": OWN, "units": [2]},
    {"kind": "negatives", "layer": OWN, "units": [1]},
    {"kind": "patterns", "layer": OWN, "units": [1]},
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one["kind"])
def test_addresses_of_concepts_need_nothing_inside_a_study(request_: dict[str, Any], folder: Path) -> None:
    parse_request(request_).check(document(folder, "study"))
    assert set(requested_now(folder, **request_)) == {f"layer/{OWN}"}
    (field,) = {request_["kind"]} & set(document(folder, f"layer/{OWN}"))
    assert document(folder, f"layer/{OWN}")[field]
    again = study(tiny("in-place"), IMAGES, folder, plan=PLAN)
    assert (again.computed, again.skipped) == (0, ())
    assert len(requested(Store.open(folder))) == 1


def test_an_added_image_is_shown_as_concepts(folder: Path) -> None:
    written = requested_now(folder, kind="image", file=FILE, name="dropped.png")
    assert {"concepts", f"layer/{OWN}"} <= set(written)
    shown = document(folder, "concepts")["sets"][0]["shown"]["d01234567"]
    (maps,) = [document(folder, f"layer/{OWN}")["activations"]["d01234567"]]
    assert sum(shown["values"]) + shown["rest"] + shown["missing"] == pytest.approx(shown["score"], rel=1e-5)
    assert maps["sheet"]["count"] == 3
    again = study(tiny("in-place"), IMAGES, folder, plan=PLAN)
    assert (again.computed, again.skipped) == (0, ())
    requested_now(folder, kind="forget", image="d01234567")
    assert "d01234567" not in document(folder, "concepts")["sets"][0]["shown"]


def test_a_set_that_the_command_left_takes_the_place_of_the_studys_own(folder: Path) -> None:
    model = tiny("in-place")
    requested_now(folder, kind="patterns", layer=OWN, units=[1])
    left = ins.concepts(model, [image(seed) for seed in range(10, 16)], layer=LAYER, count=2, out=folder)
    # What was computed of the other is gone.
    assert not [
        name for name in Store.open(folder).names() if "nmf/images" in name or name.startswith(f"patterns/{OWN}")
    ]
    again = study(model, IMAGES, folder, plan=PLAN)
    again.render()
    (found,) = document(folder, "concepts")["sets"]
    assert (found["own"], found["images"], len(found["concepts"])) == (False, 6, 2)
    kept = read_concepts(folder).sets[0][2]
    assert torch.equal(kept.directions, left.factorization.directions)
    assert sorted(found["shown"]) == ["p0", "p1", "p2"]
    with pytest.raises(InnersightError, match="holds concepts relu2~nmf already"):
        ins.concepts(model, IMAGES, layer=LAYER, count=2, out=folder)


def test_what_was_asked_of_a_set_is_made_again_where_the_set_changes(folder: Path) -> None:
    requested_now(folder, kind="connections", layer=OWN, units=[1])
    study(tiny("in-place"), IMAGES, folder, plan=Plan(**{**vars(PLAN), "concepts": 2}))
    settings = Store.open(folder).settings(str(Key("connections", OWN, "units=1")))
    assert settings is not None
    assert settings["set"]["default"]["count"] == 2


def test_a_set_of_another_layer_is_beside_the_studys_own(folder: Path) -> None:
    ins.concepts(tiny("in-place"), IMAGES, layer="relu1", by="pca", count=2, out=folder)
    study(tiny("in-place"), IMAGES, folder, plan=PLAN).render()
    assert list(sets_of(folder)) == [OWN, "relu1~pca"]
    names = [row["name"] for row in document(folder, "study")["layers"]]
    assert names[names.index("relu1") + 1] == "relu1~pca"
    assert sets_of(folder)["relu1~pca"]["shown"].keys() == {"p0", "p1", "p2"}


def test_concepts_of_another_network_leave(folder: Path) -> None:
    other = tiny("in-place", seed=4)
    study(other, IMAGES, folder, plan=Plan(**{**vars(PLAN), "concepts": 0})).render()
    assert not [name for name in Store.open(folder).names() if "nmf" in name]
    assert not (folder / "web" / "documents" / "concepts.json").exists()


def test_over_the_images_of_a_scan_where_there_is_one(tmp_path: Path) -> None:
    model = tiny("in-place")
    root = tmp_path / "images"
    root.mkdir()
    for seed in range(24):
        image(30 + seed).display(model.input).save(root / f"{seed}.png")
    scan(model, root, [LAYER], out=tmp_path / "s", examples=1)
    study(model, IMAGES, tmp_path / "s", plan=PLAN).render()
    (found,) = document(tmp_path / "s", "concepts")["sets"]
    assert (found["own"], found["images"]) == (False, 24)
    # Other images of the study leave these concepts as they are.
    before = read_concepts(tmp_path / "s").sets[0][2].directions
    item = Store.open(tmp_path / "s").settings(str(Key("concepts", LAYER, "nmf")))
    study(model, IMAGES[:2], tmp_path / "s", plan=PLAN)
    assert Store.open(tmp_path / "s").settings(str(Key("concepts", LAYER, "nmf"))) == item
    assert torch.equal(before, read_concepts(tmp_path / "s").sets[0][2].directions)


@pytest.mark.parametrize(("images", "plan"), [(IMAGES[:1], {}), (IMAGES, {"concepts": 0})], ids=["one image", "none"])
def test_without_concepts_a_study_says_why(images: list[Any], plan: dict[str, Any], tmp_path: Path) -> None:
    done = study(tiny("in-place"), images, tmp_path / "s", plan=Plan(**{**vars(PLAN), "units": 0, **plan}))
    done.render()
    assert done.skipped == ()
    (why,) = [row["why"] for row in document(done.folder, "study")["missing"] if row["what"] == "concepts"]
    assert "innersight concepts" in why


def test_a_layer_without_any_activity_does_not_end_the_study(tmp_path: Path) -> None:
    model = tiny("in-place")
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name.startswith("conv2"):
                parameter.zero_()
    done = study(model, IMAGES, tmp_path / "s", plan=Plan(**{**vars(PLAN), "units": 0}))
    done.render()
    # What would be computed from them is not tried.
    assert [text.partition(": ")[0] for text in done.skipped] == ["concepts of relu2, nmf"]
    assert not (done.folder / "web" / "documents" / "concepts.json").exists()


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Store], None]:
    def changed(store: Store) -> None:
        key = str(Key("concepts", LAYER, "nmf"))
        item, settings = store.get(key), store.settings(key)
        assert item is not None
        assert settings is not None
        found = json.loads(json.dumps(item.document))
        change(found)
        store.put(key, settings, found, item.tensors(), 0.0)

    return changed


def tensors(**changes: torch.Tensor) -> Callable[[Store], None]:
    def changed(store: Store) -> None:
        key = str(Key("concepts", LAYER, "nmf"))
        item, settings = store.get(key), store.settings(key)
        assert item is not None
        assert settings is not None
        store.put(key, settings, item.document, {**item.tensors(), **changes}, 0.0)

    return changed


HOSTILE = {
    "order twice": edit(lambda one: one.update(order=[0, 0, 1])),
    "order beyond": edit(lambda one: one.update(order=[0, 1, 3])),
    "order of truths": edit(lambda one: one.update(order=[True, 0, 2])),
    "a card elsewhere": edit(lambda one: one["concepts"][0].update(concept=2)),
    "a unit beyond": edit(lambda one: one["concepts"][0]["units"].append({"unit": 10**9, "weight": 1.0})),
    "a class beyond": edit(lambda one: one["concepts"][0]["classes"][0].update(number=99)),
    "an interval of three": edit(
        lambda one: one["concepts"][0]["classes"][0]["contribution"].update(interval=[1, 2, 3])
    ),
    "a label of another kind": edit(lambda one: one["concepts"][0].update(label={"label": 3, "score": 1, "by": "x"})),
    "a title of another kind": edit(lambda one: one.update(title=["x"])),
    "an example beyond": edit(lambda one: one["examples"][0].update(concept=3)),
    "crops of another kind": tensors(crops=torch.zeros(2, 3)),
    "masks of another kind": tensors(masks=torch.zeros(2, 3, 3, dtype=torch.bool)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_innersight_does_not_write_is_refused_in_a_sentence(name: str, folder: Path) -> None:
    HOSTILE[name](Store.open(folder))
    with pytest.raises(InnersightError, match=r"not written by innersight|what the document|what its network") as error:
        Study.open(folder).render()
    assert "\n" not in str(error.value)
