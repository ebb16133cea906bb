"""The atlas of a study: its documents, its page in a browser, and what a report of a part of it holds."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import image, tiny

import innersight as ins
from innersight.atlas import Atlas
from innersight.errors import InnersightError
from innersight.storage.store import Store
from innersight.study import Plan
from innersight.study.compute import compute
from innersight.study.content import content_of
from innersight.study.panels.images import ImageRequest
from innersight.study.result import Study
from innersight.web.selection import selected

PLAN = Plan(layers=("conv1", "conv2"), units=0, trust=0, methods=("gradcam",), rivals=False)
IMAGES = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Atlas]:
    model, folder = tiny("in-place"), tmp_path_factory.mktemp("atlas") / "study"
    many = [image(i) for i in range(IMAGES)]
    found = ins.atlas(model, many, "conv2", grid=4, layout="pca", steps=2, size=16, out=folder)
    with pytest.raises(InnersightError, match="an atlas is kept here, and no study"):
        Study.open(folder).render()
    ins.study(model, many[:2], folder, plan=PLAN)
    Study.open(folder).report(folder / "report.html")
    return folder, found


def document(folder: Path, *names: str) -> dict[str, Any]:
    return dict(json.loads((folder / "web" / "documents").joinpath(*names).read_text()))


def test_the_document_of_a_layer_holds_its_atlas(made: tuple[Path, Atlas]) -> None:
    folder, found = made
    assert document(folder, "study.json")["atlases"] == ["conv2"]
    assert document(folder, "layer", "conv1.json")["atlas"] is None
    own = document(folder, "layer", "conv2.json")["atlas"]
    assert [row["label"] for row in own["classes"]] == list(found.classes)
    assert own["crops"]["count"] == len(found.crops) == len(own["names"])
    for level, row in zip(found.levels, own["levels"], strict=True):
        assert row["grid"] == level.grid
        assert torch.equal(torch.tensor([row["row"], row["column"]]).T, level.position)
        assert row["count"] == level.count.tolist()
        assert torch.allclose(torch.tensor(row["attribution"]), level.attribution, rtol=1e-3)
        assert torch.allclose(torch.tensor(row["share"]), level.share, rtol=1e-3)
        assert row["examples"] == [[i for i in cell if i >= 0] for cell in level.examples.tolist()]
        assert (row["patterns"] is not None) == level.drawn
    assert own["trace"]["p1"]["cells"] == found.trace(image(1)).cells.tolist()


def test_a_cell_names_the_concepts_strongest_in_its_mean(made: tuple[Path, Atlas], tmp_path: Path) -> None:
    model, many = tiny("in-place"), [image(i) for i in range(IMAGES)]
    folder = shutil.copytree(made[0], tmp_path / "study")
    found = ins.concepts(model, many, "conv2", count=4, out=folder)
    ins.study(model, many[:2], folder, plan=PLAN).render()
    item = Store.open(folder).get("atlas/conv2")
    assert item is not None
    for level in document(folder, "layer", "conv2.json")["atlas"]["levels"]:
        codes = found.factorization.encode(item.tensors()[f"{level['grid']}/mean"].float())
        assert len(level["concepts"]) == len(codes)
        for cell, own in zip(level["concepts"], codes, strict=True):
            best = own.argsort(descending=True)[: min(3, int((own > 0).sum()))].tolist()
            assert [one["concept"] for one in cell] == best
            assert [one["value"] for one in cell] == pytest.approx(own[best].tolist(), rel=1e-3)
            assert {one["set"] for one in cell} <= {"nmf"}


def test_a_further_run_keeps_the_atlas_of_the_same_network_only(made: tuple[Path, Atlas], tmp_path: Path) -> None:
    folder, _ = made
    ins.study(tiny("in-place"), [image(3)], folder, plan=PLAN)
    assert "atlas/conv2" in Store.open(folder).names()
    own = tmp_path / "other"
    ins.atlas(tiny("in-place"), [image(i) for i in range(5)], "conv2", grid=2, layout="pca", drawn=0, out=own)
    ins.study(tiny("dense"), [image(3)], own, plan=Plan(layers=("step2",), units=0, trust=0, methods=("gradcam",)))
    assert "atlas/conv2" not in Store.open(own).names()


def test_an_image_added_later_is_traced(made: tuple[Path, Atlas], tmp_path: Path) -> None:
    folder, model = tmp_path / "study", tiny("in-place")
    shutil.copytree(made[0], folder)
    (folder / "images").mkdir()
    image(7).pil.save(folder / "images" / "0123456789abcdef.png")
    request = ImageRequest(kind="image", file="0123456789abcdef.png", name="dropped.png")
    assert "layer/conv2" in list(compute(folder, request, model=model))
    traced = document(folder, "layer", "conv2.json")["atlas"]["trace"][request.id]
    assert traced["cells"] == made[1].trace(image(7)).cells.tolist()


def test_a_report_of_some_images_traces_these_alone(made: tuple[Path, Atlas]) -> None:
    store = Store.open(made[0])
    documents, _ = selected(store.inside, [], ["p0"])
    assert list(documents["layer/conv2"]["atlas"]["trace"]) == ["p0"]
    documents, _ = selected(store.inside, ["conv2:1"], [])
    assert documents["layer/conv2"]["atlas"] is None


def test_an_export_has_a_sheet_of_every_level_drawn(made: tuple[Path, Atlas]) -> None:
    sheets = content_of(Store.open(made[0])).sheets
    assert {name for name in sheets if name.startswith("atlas/")} == {"atlas/conv2/2", "atlas/conv2/4"}


@pytest.mark.parametrize("spoilt", ["crops", "4/examples", "4/attribution", "4/position"])
def test_an_atlas_that_innersight_did_not_write_is_a_sentence(spoilt: str, tmp_path: Path) -> None:
    folder, model = tmp_path / "study", tiny("in-place")
    many = [image(i) for i in range(5)]
    ins.atlas(model, many, "conv2", grid=2, layout="pca", drawn=0, out=folder)
    ins.study(model, many[:1], folder, plan=PLAN)
    store, key = Store.open(folder), "atlas/conv2"
    item = store.get(key)
    assert item is not None
    tensors = item.tensors()
    values = {"crops": tensors["crops"].float(), "4/examples": tensors["4/examples"] + 10_000,
              "4/attribution": tensors["4/attribution"][1:], "4/position": tensors["4/position"] + 4}  # fmt: skip
    settings = store.settings(key)
    assert settings is not None
    store.put(key, settings, item.document, {**tensors, spoilt: values[spoilt].contiguous()}, 0.0)
    with pytest.raises(InnersightError, match="not as innersight writes it"):
        Study.open(folder).render()


@pytest.fixture(scope="module")
def reader(made: tuple[Path, Atlas]) -> Iterator[Any]:
    sys.path.insert(0, str(Path(__file__).parent / "web"))
    from browser import Reader, launched

    for chromium in launched():
        opened = Reader(chromium, (made[0] / "report.html").as_uri())
        yield opened
        opened.close()


DRAWN = "document.querySelector('canvas.atlas-map')?.dataset.level"


@pytest.mark.browser
def test_the_page_of_an_atlas(made: tuple[Path, Atlas], reader: Any) -> None:
    found, page = made[1], reader.page
    reader.go("#/atlas/conv2", "conv2")
    reader.wait(f"{DRAWN} === '4'")
    canvas = page.locator("canvas.atlas-map")
    box = canvas.bounding_box()
    row, column = found.levels[1].position[0].tolist()
    page.mouse.click(box["x"] + (column + 0.5) / 4 * box["width"], box["y"] + (row + 0.5) / 4 * box["height"])
    page.wait_for_selector(".atlas-card .kicker")
    assert f"cell=4:{row},{column}" in page.evaluate("location.hash")
    card = page.locator(".atlas-card").inner_text()
    assert f"Row {row + 1}, column {column + 1}" in card
    assert f"{int(found.levels[1].count[0])} vector" in card
    shown = page.locator(".atlas-crops li").count()
    assert shown == int((found.levels[1].examples[0] >= 0).sum())
    page.keyboard.press("Escape")
    assert page.locator(".atlas-card .kicker").count() == 0
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".atlas-card .kicker")
    page.get_by_role("button", name="Crops").click()
    reader.wait(f"{DRAWN} === '8'")
    assert "view=crops" in page.evaluate("location.hash")
    assert reader.overflow() <= 0


@pytest.mark.browser
def test_classes_fade_cells_and_two_are_compared(made: tuple[Path, Atlas], reader: Any) -> None:
    label, page = made[1].classes[0], reader.page
    reader.go(f"#/atlas/conv2?class={label}", "conv2")
    reader.wait(f"{DRAWN} === '4'")
    page.wait_for_selector(".atlas-scale")
    reader.wait("document.querySelector('.atlas-scale').textContent.includes('Full: a vector counts')")
    assert page.evaluate("location.hash").count(f"class={label}") == 1


@pytest.mark.browser
def test_an_image_is_traced(made: tuple[Path, Atlas], reader: Any) -> None:
    page = reader.page
    reader.go("#/i/p0", made[1].model.name and document(made[0], "study.json")["images"][0]["name"])
    page.get_by_role("link", name="conv2").last.scroll_into_view_if_needed()
    page.locator(".atlas-traces a").first.click()
    reader.wait("location.hash.startsWith('#/atlas/conv2?trace=p0')")
    reader.wait(f"{DRAWN} === '4'")
    page.wait_for_selector(".atlas-card ins-tile[data-state=drawn]")
