"""Names, tags and notes in a browser: written, carried by a link, beside every address, found by the search."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import Reader
from serving import Serving, hosted
from test_accessible import RUN, axe  # noqa: F401 - a fixture

from innersight import toons
from innersight.dissection import WordLabels, keep_labels
from innersight.sources import load
from innersight.study import Plan, Study, study
from innersight.web.app import create_app
from innersight.web.report import write_report

pytestmark = pytest.mark.browser
BARS = "[aria-label='Units this prediction depends on']"
NAME = "hair <b>outline</b>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("names") / "s"
    images = [toons.draw(name, 5).pixels for name in toons.CLASSES[:2]]
    plan = Plan(
        layers=("stage3", "stage4"), units=2, steps=1, seeds=1, methods=("gradcam",), concepts=4, trust=0, negatives=0
    )
    study(load("toon", device="cpu"), images, out, plan=plan).render()
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s"))


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    with Serving(create_app(folder)) as number:
        yield number


def unit_of(folder: Path) -> tuple[str, int]:
    """Return layer and unit that the prediction of the first image depends on most."""
    documents = {name: folder / "web" / "documents" / "layer" / f"{name}.json" for name in ("stage3", "stage4")}
    change = {name: json.loads(path.read_text())["ablation"]["own"]["p0"]["change"] for name, path in documents.items()}
    return min(
        ((name, unit) for name in change for unit in range(len(change[name]))), key=lambda at: change[at[0]][at[1]]
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_written_stands_wherever_the_unit_is_named(
    width: int,
    chromium: Any,
    port: int,
    folder: Path,
    axe: str,  # noqa: F811
) -> None:
    layer, unit = unit_of(folder)
    reader = Reader(chromium, f"http://127.0.0.1:{port}/#/l/{layer}/u/{unit}", viewport={"width": width, "height": 900})
    page = reader.page
    page.get_by_text("Add a name, tags, a note").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Tags, separated by commas").fill("hair, odd one")
    page.get_by_label("Note", exact=True).fill("strong on the left\nweak on hats")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    reader.wait("text => document.querySelector('h1').textContent === text", f"Unit {unit} · {NAME}")
    assert Study.open(folder).annotations[f"{layer}:{unit}"].tags == ("hair", "odd one")
    assert page.locator(".annotation .badge").all_inner_texts() == ["hair", "odd one"]
    assert page.locator(".note-text").inner_text() == "strong on the left\nweak on hats"
    assert page.locator("h1 b").count() == 0
    assert reader.overflow() <= 0
    page.evaluate(axe)
    assert page.evaluate(RUN) == []
    # In bars, tiles, the search and the list of all notes.
    reader.go("#/i/p0", "")
    page.locator(BARS).wait_for()
    page.locator(".switch").first.wait_for()
    assert page.locator(BARS).get_by_text(f"{layer}:{unit} · {NAME}").count() == 1
    assert page.locator(".switch", has_text=f"{layer}:{unit} · {NAME}").count() == 1
    reader.go(f"#/l/{layer}?lens=activations", layer)
    assert page.locator(".tiles .unit", has_text=f"{unit} · {NAME}").count() == 1
    for text in ("outline", "odd one", "weak on hats", f"{layer}:{unit}"):
        page.keyboard.press("/")
        page.get_by_role("combobox", name="Search").fill(text)
        assert f"{layer}:{unit} · {NAME}" in (page.locator("#found").text_content() or ""), text
        page.keyboard.press("Escape")
        reader.wait("() => !document.querySelector('dialog')")
    reader.go("#/", "")
    page.locator("#annotations").wait_for()
    assert f"{layer}:{unit} · {NAME}" in page.locator("#annotations").inner_text()
    reader.close()


def test_a_report_shows_them_and_its_link_carries_names(chromium: Any, folder: Path, tmp_path: Path) -> None:
    layer, unit = unit_of(folder)
    Study.open(folder).annotate(f"{layer}:{unit}", name="kept", note="a note")
    report = write_report(folder, tmp_path / "report.html")
    reader = Reader(chromium, report.as_uri())
    page = reader.page
    reader.go(f"#/l/{layer}/u/{unit}", f"Unit {unit} · kept")
    assert page.locator(".note-text").inner_text() == "a note"
    page.get_by_text("Edit name, tags, note").click()
    assert f"innersight annotate STUDY {layer}:{unit}" in page.locator(".annotate").inner_text()
    assert page.get_by_label("Note", exact=True).count() == 0
    page.get_by_label("Name", exact=True).fill("a, b = c")
    page.get_by_role("button", name="Keep in the link").click()
    reader.wait("text => document.querySelector('h1').textContent === text", f"Unit {unit} · a, b = c")
    # Other pages and whoever opens the link see it too; the study's own file stays as it is.
    reader.go("#/i/p0", "")
    page.locator(BARS).wait_for()
    assert page.get_by_text(f"{layer}:{unit} · a, b = c").count() >= 1
    url = page.url
    assert "names=" in url
    other = Reader(chromium, url)
    assert other.page.get_by_text(f"{layer}:{unit} · a, b = c").count() >= 1
    other.close()
    reader.close()


def test_names_in_a_link_are_plain_and_bounded(chromium: Any, folder: Path, tmp_path: Path) -> None:
    report = write_report(folder, tmp_path / "report.html")
    name = "<img src=x onerror=alert(1)>\u202e" + "x" * 500
    reader = Reader(chromium, report.as_uri() + "#/l/stage4/u/3?names=" + "stage4:3=" + name)
    shown = reader.page.locator("h1").inner_text()
    assert shown == "Unit 3 · " + name.replace("\u202e", "")[:60]
    assert reader.page.locator("h1 img").count() == 0
    reader.close()


@pytest.mark.parametrize("host", ["report", "app"])
def test_units_are_found_by_their_labels(chromium: Any, folder: Path, host: str) -> None:
    values = torch.full((128, 2), -0.5)
    values[5] = torch.tensor([0.9, 0.1])
    low = torch.full_like(values, 0.001)
    model = load("toon", device="cpu")
    keep_labels(WordLabels(model, ("<i>red</i> hair", "water"), {"stage4": values}, {"stage4": low}, 40, 0.05), folder)
    Study.open(folder).render()
    with hosted(folder, host) as address:
        reader = Reader(chromium, address)
        page = reader.page
        page.keyboard.press("/")
        page.get_by_role("combobox", name="Search").fill("<i>red")
        reader.wait("() => document.querySelector('#found').textContent.includes('stage4:5')")
        assert "<i>red</i> hair, correlation 0.9" in page.locator("#found li").first.inner_text()
        page.keyboard.press("Enter")
        reader.wait("() => document.querySelector('h1').textContent === 'Unit 5'")
        labels = page.locator(".unit-pattern", has_text="correlation 0.9")
        labels.wait_for()
        assert "<i>red</i> hair" in labels.inner_text()
        reader.close()
