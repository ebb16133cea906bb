"""Pins in the address of every page, and keys that work on all of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from web_fixture import HOSTILE_LAYER

from innersight.web.report import write_report

SHOTS = os.environ.get("INNERSIGHT_SCREENSHOTS")


def pinned(reader: Reader) -> list[str]:
    return reader.page.locator("#tray .chip a").all_inner_texts()


@pytest.mark.browser
def test_pins_travel_in_the_address(anywhere: Reader) -> None:
    page = anywhere.page
    anywhere.go("#/l/stages.1/u/7", "Unit 7")
    page.keyboard.press("p")
    page.wait_for_selector("#tray .chip")
    assert page.evaluate("location.hash") == "#/l/stages.1/u/7?pins=stages.1:7"
    assert page.get_by_role("button", name="Pin stages.1:7", exact=True).get_attribute("aria-pressed") == "true"
    anywhere.go("#/i/p0", "ambra")
    page.keyboard.press("p")
    anywhere.wait("document.querySelectorAll('#tray .chip').length === 2")
    assert "pins=stages.1:7,p0" in page.evaluate("location.hash")
    page.get_by_role("link", name="Training").first.click()
    anywhere.wait("location.hash.includes('pins=stages.1:7,p0')")
    page.reload()
    anywhere.ready()
    assert pinned(anywhere) == ["stages.1:7", "ambra at the beach.png"]
    page.keyboard.press("x")
    anywhere.wait("document.querySelectorAll('.matrix-row[data-address]').length === 1")
    page.get_by_role("button", name="Unpin stages.1:7").click()
    page.get_by_role("button", name="Clear pins").click()
    assert page.locator("#tray").is_hidden()
    assert "pins" not in page.evaluate("location.hash")


@pytest.mark.browser
def test_names_with_separators_survive_the_address(reader: Reader) -> None:
    reader.go(f"#/l/{HOSTILE_LAYER.replace('%', '%25').replace('/', '%2F')}/u/1", "Unit 1")
    reader.page.keyboard.press("p")
    reader.page.wait_for_selector("#tray .chip")
    assert pinned(reader) == [f"{HOSTILE_LAYER}:1"]
    reader.page.reload()
    reader.ready()
    assert pinned(reader) == [f"{HOSTILE_LAYER}:1"]
    reader.page.get_by_role("link", name="Side by side").last.click()
    reader.wait("document.querySelectorAll('.matrix-row[data-address]').length === 1")


@pytest.mark.browser
def test_a_tile_is_pinned_with_its_button_or_in_focus(anywhere: Reader) -> None:
    anywhere.go("#/l/stages.1", "stages.1")
    anywhere.page.keyboard.press("j")
    anywhere.page.keyboard.press("j")
    anywhere.page.keyboard.press("p")
    anywhere.wait("document.querySelectorAll('#tray .chip').length === 1")
    assert pinned(anywhere) == ["stages.1:1"]
    anywhere.page.locator("main li").nth(4).hover()
    anywhere.page.get_by_role("button", name="Pin stages.1:4", exact=True).click()
    anywhere.wait("document.querySelectorAll('#tray .chip').length === 2")


@pytest.mark.browser
def test_keys_go_through_layers_lenses_and_units(anywhere: Reader) -> None:
    page = anywhere.page
    anywhere.go("#/l/stages.0", "stages.0")
    page.keyboard.press("2")
    anywhere.wait("location.hash.includes('lens=patterns')")
    page.keyboard.press("]")
    anywhere.wait("document.querySelector('h1').textContent === 'stages.1'")
    assert "lens=patterns" in page.evaluate("location.hash")
    page.keyboard.press("3")
    page.wait_for_selector(".example-units")
    page.keyboard.press("[")
    anywhere.wait("document.querySelector('h1').textContent === 'stages.0'")
    anywhere.go("#/l/stages.1/u/0", "Unit 0")
    page.keyboard.press("k")
    anywhere.wait("document.querySelector('h1').textContent === 'Unit 63'")
    page.keyboard.press("4")
    anywhere.wait("location.hash.includes('lens=weights')")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("stages.1:12", "Unit 12"),
        ("stages.2 5", "Unit 5"),
        ("stem", "stem.conv"),
        ("corvo", "corvo"),
        ("beach", "ambra at"),
        ("unit 12", "Unit 12"),
        ("stages.2 unit 5", "Unit 5"),
        ("training step", "How toon"),
    ],
)
def test_search_finds_units_layers_classes_and_images(anywhere: Reader, text: str, arrives: str) -> None:
    anywhere.page.keyboard.press("/")
    anywhere.page.get_by_role("combobox", name="Search").fill(text)
    anywhere.page.keyboard.press("Enter")
    anywhere.wait("text => document.querySelector('main h1').textContent.startsWith(text)", arrives)
    anywhere.wait("document.querySelector('dialog') === null")


@pytest.mark.browser
def test_search_puts_whole_words_before_beginnings_and_finds_methods(
    chromium: Any, study: Path, tmp_path: Path
) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "study.json"
    about = json.loads(path.read_text())
    about["model"]["labels"] = ["catamaran", "concatenate", "tiger cat", "cat", "dog", "cow", "ox", "hen"]
    about["methods"] = {"gradcam": {"title": "Grad-CAM"}, "occlusion": {"title": "Occlusion"}}
    path.write_text(json.dumps(about))
    reader = Reader(chromium, write_report(tmp_path, tmp_path / "report.html").as_uri())
    reader.page.keyboard.press("/")
    reader.page.get_by_role("combobox", name="Search").fill("cat")
    names = reader.page.locator("#found li .clip").all_inner_texts()
    assert names == ["cat", "tiger cat", "catamaran", "concatenate"]
    reader.page.get_by_role("combobox", name="Search").fill("occlusion")
    reader.page.keyboard.press("Enter")
    reader.wait("document.querySelector('main h1').textContent.startsWith('ambra at')")
    reader.wait("document.querySelector('.heatmap[data-method=occlusion]').getBoundingClientRect().top < 300")
    reader.page.keyboard.press("/")
    reader.page.get_by_role("combobox", name="Search").fill("gradcam")
    assert reader.page.locator("#found li").first.inner_text().startswith("Grad-CAM")
    reader.close()


@pytest.mark.browser
def test_search_that_finds_nothing_says_so_and_help_lists_the_keys(anywhere: Reader) -> None:
    anywhere.page.get_by_role("button", name="Search").click()
    anywhere.page.get_by_role("combobox", name="Search").fill("zzz")
    assert "No matching unit" in anywhere.page.locator("#found").inner_text()
    anywhere.page.keyboard.press("Escape")
    anywhere.wait("document.querySelector('dialog') === null")
    anywhere.page.keyboard.press("?")
    shown = anywhere.page.locator("dialog kbd").all_inner_texts()
    assert {"j", "k", "[", "]", "1", "2", "3", "4", "p", "/", "?", "x"} <= set(shown)


@pytest.mark.browser
def test_the_link_is_copied_with_the_pins(anywhere: Reader) -> None:
    if not anywhere.page.url.startswith("file:"):
        anywhere.context.grant_permissions(["clipboard-read", "clipboard-write"])
    anywhere.go("#/l/stages.1/u/7?pins=p1", "Unit 7")
    anywhere.page.get_by_role("button", name="Copy link").click()
    anywhere.wait("document.getElementById('link').dataset.done !== undefined")
    if not anywhere.page.url.startswith("file:"):
        assert anywhere.page.evaluate("navigator.clipboard.readText()").endswith("#/l/stages.1/u/7?pins=p1")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("address", "expected", "name", "least"),
    [
        ("#/l/stages.1?lens=activations", "stages.1", "stages.1-maps-ambra-at-the-beach.png", 64),
        ("#/l/stages.1?lens=patterns", "stages.1", "stages.1-patterns.png", 64),
        ("#/l/stages.1?lens=examples", "stages.1", "stages.1-examples.png", 6),
        ("#/x?units=stages.1:7,stages.1:9&imgs=p0,p1", "Units side by side", "side-by-side.png", 9),
    ],
)
def test_sheets_of_tiles_are_saved_whole(anywhere: Reader, address: str, expected: str, name: str, least: int) -> None:
    from PIL import Image as PILImage

    anywhere.go(address, expected)
    with anywhere.page.expect_download() as found:
        anywhere.page.get_by_role("button", name="Save as PNG").click()
    assert found.value.suggested_filename == name
    with PILImage.open(found.value.path()) as image:
        assert image.format == "PNG"
        assert image.width * image.height >= least * 128 * 128
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
        if SHOTS:
            image.save(f"{SHOTS}/sheet-{name}")


def test_figures_are_saved_as_png_and_svg(anywhere: Reader) -> None:
    from PIL import Image as PILImage

    anywhere.go("#/l/stages.1/u/7", "Unit 7")
    anywhere.show(".unit-map")
    with anywhere.page.expect_download() as found:
        anywhere.page.locator(".unit-map .save").first.click()
    assert found.value.suggested_filename == "stages.1-7-ambra-at-the-beach.png"
    with PILImage.open(found.value.path()) as image:
        assert image.format == "PNG"
        assert max(image.size) >= 640
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
    anywhere.go("#/train", "was trained")
    with anywhere.page.expect_download() as chart:
        anywhere.page.locator(".chart .save").first.click()
    assert chart.value.suggested_filename == "loss.svg"
    text = chart.value.path().read_text()
    assert text.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert "rgb(" in text
