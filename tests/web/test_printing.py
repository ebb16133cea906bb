"""What is printed is what the page holds: every tile, in light colours, without what can only be pressed."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest
from browser import Reader
from PIL import Image as PILImage
from web_fixture import write_study

from innersight.web.report import write_report

pytestmark = pytest.mark.browser
UNDRAWN = "document.querySelectorAll('main ins-tile:not([data-state=drawn])').length"
# Different images among the tiles that paper shows.
DISTINCT = """() => new Set([...document.querySelectorAll("main ins-tile")]
  .filter((tile) => !tile.closest(".picker, .suggest"))
  .map((tile) => tile.querySelector("canvas").toDataURL())).size"""


def quiet(reader: Reader) -> Any:
    """Return the page, which prints nothing itself: it would still be printed when it becomes a PDF."""
    reader.page.evaluate("window.print = () => {}")
    return reader.page


def images(reader: Reader) -> int:
    """Return how many different images the page has as a PDF."""
    return len(re.findall(rb"/Subtype\s*/Image", reader.page.pdf(print_background=True)))


@pytest.mark.parametrize(
    ("address", "expected"), [("", "Eight drawn"), ("#/i/p0", "ambra"), ("#/x?units=stages.1:7,stem.conv:3", "Units")]
)
def test_everything_is_drawn_before_it_is_printed(anywhere: Reader, address: str, expected: str) -> None:
    anywhere.go(address or "#/", expected)
    page = quiet(anywhere)
    page.keyboard.press("Control+p")
    anywhere.wait(f"{UNDRAWN} === 0 && !document.querySelector('.print-note')")
    distinct = page.evaluate(DISTINCT)
    assert images(anywhere) >= distinct > 7
    # Afterwards only what is near is kept.
    assert (page.evaluate(UNDRAWN) > 0) is (address != "#/x?units=stages.1:7,stem.conv:3")


def pictures(pdf: bytes) -> list[PILImage.Image]:
    """Return the images of a PDF in their own pixels."""
    found = []
    document = pdfium.PdfDocument(pdf)
    for page in document:
        for held in page.get_objects(filter=[pdfium.raw.FPDF_PAGEOBJ_IMAGE]):
            found.append(held.get_bitmap(render=False).to_pil().convert("RGB"))
    document.close()
    return found


@pytest.mark.parametrize("address", ["#/", "#/i/p0"])
def test_the_paper_shows_the_pixels_of_the_screen(reader: Reader, address: str) -> None:
    reader.go(address, "Eight drawn" if address == "#/" else "ambra")
    page = quiet(reader)
    page.keyboard.press("Control+p")
    reader.wait(f"{UNDRAWN} === 0 && !document.querySelector('.print-note')")
    tiles = page.evaluate(
        """() => [...document.querySelectorAll("main ins-tile")].filter((tile) => !tile.closest(".picker, .suggest"))
          .map((tile) => tile.querySelector("canvas").toDataURL())"""
    )
    printed: dict[tuple[int, int], list[Any]] = {}
    for one in pictures(page.pdf(print_background=True)):
        printed.setdefault(one.size, []).append(np.asarray(one).astype(int))
    missing = []
    for tile in dict.fromkeys(tiles):
        with PILImage.open(io.BytesIO(base64.b64decode(tile.split(",")[1]))) as drawn:
            pixels = np.asarray(drawn.convert("RGBA").convert("RGB")).astype(int)
            size = drawn.size
        if not any(np.abs(pixels - other).mean() < 2 for other in printed.get(size, [])):
            missing.append(size)
    assert len(tiles) > 20
    assert missing == []


def test_a_print_of_the_browsers_own_says_what_it_lacks(reader: Reader) -> None:
    page = quiet(reader)
    said = "getComputedStyle(document.querySelector('.print-undrawn')).display"
    before = images(reader)
    page.emulate_media(media="print")
    assert page.evaluate(said) == "block"
    page.emulate_media(media="null")
    page.get_by_role("button", name="Print this page").click()
    reader.wait(f"{UNDRAWN} === 0 && !document.querySelector('.print-note')")
    assert images(reader) > 2 * before
    page.emulate_media(media="print")
    assert page.evaluate(said) == "none"


def test_long_grids_are_printed_whole_and_in_light_colours(chromium: object, tmp_path: Path) -> None:
    report = write_report(write_study(tmp_path / "many", many=300), tmp_path / "report.html")
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.2", color_scheme="dark")
    page = quiet(reader)
    # One of the 300 is dead, and behind a count.
    assert page.locator("main .tile").count() < 299
    page.keyboard.press("Control+p")
    reader.wait(f"document.querySelectorAll('main .tile').length === 299 && {UNDRAWN} === 0")
    reader.wait("!document.querySelector('.print-note')")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".bar-top").is_hidden()
    assert page.locator("main .toolbar").first.is_hidden()
    # In the flow of the page: no tile lies over another.
    tops = page.evaluate("[...document.querySelectorAll('main li')].map((li) => [li.offsetLeft, li.offsetTop].join())")
    assert len(set(tops)) == 299
    page.emulate_media(media="null")
    distinct = page.evaluate(DISTINCT)
    assert images(reader) >= distinct > 200
    reader.wait("document.querySelectorAll('main .tile').length < 299")
    reader.close()
