"""Getting around: the navigation and its menu, Back, edges that fade, and the start page in a narrow window."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from browser import Reader

pytestmark = pytest.mark.browser
NARROW = {"viewport": {"width": 390, "height": 844}}
UNITS = ",".join(f"stages.1:{unit}" for unit in range(8))
BRIGHTNESS = """selector => {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  brush.fillStyle = getComputedStyle(document.querySelector(selector)).backgroundColor;
  brush.fillRect(0, 0, 1, 1);
  const [r, g, b] = brush.getImageData(0, 0, 1, 1).data;
  return r + g + b;
}"""


def test_back_returns_to_where_the_reader_was(anywhere: Reader) -> None:
    page = anywhere.page
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Training").click()
    anywhere.wait("Math.abs(document.getElementById('training').getBoundingClientRect().top) < 200")
    page.evaluate("scrollTo(0, 1500)")
    page.evaluate("document.querySelector('#patterns h3 a').click()")
    anywhere.wait("document.querySelector('main h1')?.textContent === 'stem.conv'")
    assert page.evaluate("scrollY") == 0
    page.evaluate("scrollTo(0, 70)")
    page.go_back()
    page.wait_for_selector("#patterns")
    anywhere.wait("Math.abs(scrollY - 1500) < 3")
    page.go_forward()
    anywhere.wait("document.querySelector('main h1')?.textContent === 'stem.conv'")
    anywhere.wait("Math.abs(scrollY - 70) < 3")


def test_a_panel_that_is_empty_says_so(anywhere: Reader) -> None:
    page = anywhere.page
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Atlas").click()
    anywhere.wait("Math.abs(document.getElementById('atlas').getBoundingClientRect().top) < 400")
    assert "No atlas was made." in page.locator("#atlas").inner_text()


def test_the_page_of_the_training_is_linked(anywhere: Reader) -> None:
    anywhere.page.locator("#training .more a").click()
    anywhere.wait("document.querySelector('main h1')?.textContent.includes('was trained')")


def test_links_that_do_not_fit_become_a_menu(chromium: object, host: str) -> None:
    reader = Reader(chromium, host, **NARROW)
    page = reader.page
    sections = page.get_by_role("navigation", name="Sections")
    menu = page.get_by_role("button", name="Menu")
    assert sections.get_by_role("link").count() == 0
    menu.click()
    assert menu.get_attribute("aria-expanded") == "true"
    links = sections.get_by_role("link")
    for i in range(links.count()):
        box = links.nth(i).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    assert links.count() == 0
    menu.click()
    links.filter(has_text="Heatmaps").click()
    reader.wait("Math.abs(document.getElementById('heatmaps').getBoundingClientRect().top) < 200")
    assert links.count() == 0
    page.set_viewport_size({"width": 1600, "height": 900})
    reader.wait("getComputedStyle(document.getElementById('menu')).display === 'none'")
    assert links.filter(has_text="Side by side").is_visible()
    reader.close()


def test_what_does_not_fit_is_behind_more(chromium: object, report: Path) -> None:
    reader = Reader(chromium, report.as_uri(), viewport={"width": 1600, "height": 900})
    page = reader.page
    links = page.get_by_role("navigation", name="Sections").get_by_role("link")
    everything = links.all_inner_texts()
    assert len(everything) > 8
    page.set_viewport_size({"width": 900, "height": 900})
    more = page.get_by_role("button", name="More")
    more.wait_for()
    beside = links.all_inner_texts()
    assert 3 <= len(beside) < len(everything)
    edges = [link.bounding_box() or {} for link in (*links.all(), more)]
    assert all(one["x"] + one["width"] <= two["x"] for one, two in pairwise(edges))
    assert edges[-1]["x"] + edges[-1]["width"] <= (page.locator("#search").bounding_box() or {})["x"]
    assert reader.overflow() <= 0
    # By keyboard: the button follows the last link, what it opens follows the button, Escape returns to it.
    links.last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "menu"
    page.keyboard.press("Enter")
    assert links.all_inner_texts() == everything
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == everything[len(beside)]
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "menu"
    assert links.all_inner_texts() == beside
    # It closes behind who leaves it, and is marked where the reader is in a section that it holds.
    page.keyboard.press("Enter")
    page.locator("#search").focus()
    assert links.all_inner_texts() == beside
    quiet = page.evaluate("getComputedStyle(document.getElementById('menu')).color")
    more.click()
    links.filter(has_text="About").click()
    reader.wait("was => getComputedStyle(document.getElementById('menu')).color !== was", quiet)
    reader.close()


def test_a_narrow_start_page_folds_long_sections(chromium: object, report: Path) -> None:
    reader = Reader(chromium, report.as_uri(), **NARROW)
    page = reader.page
    reader.wait("document.querySelectorAll('.fold[data-long]').length > 4")
    assert page.evaluate("document.documentElement.scrollHeight") < 11_000
    fold = "document.querySelector('#training .fold')"
    hidden = f"{fold}.scrollHeight > {fold}.clientHeight"
    assert page.evaluate(hidden)
    page.get_by_role("button", name="Show all: How the network was trained").click()
    assert not page.evaluate(hidden)
    # A job that finishes draws the page again.
    page.evaluate("dispatchEvent(new HashChangeEvent('hashchange'))")
    reader.wait("document.querySelector('#training .fold').hasAttribute('data-open')")
    # What the keyboard reaches is never behind the fold.
    page.locator("#heatmaps summary").last.focus()
    reader.wait("document.querySelector('#heatmaps .fold').hasAttribute('data-open')")
    reader.close()


def test_the_matrix_fades_where_rows_are_hidden(anywhere: Reader) -> None:
    anywhere.go(f"#/x?units={UNITS}", "Units side by side")
    anywhere.wait("document.querySelector('.scroll').hasAttribute('data-below')")
    assert "gradient" in anywhere.page.evaluate("getComputedStyle(document.querySelector('.scroll')).maskImage")
    anywhere.page.evaluate("document.querySelector('.scroll').scrollTo(0, 1e6)")
    anywhere.wait("!document.querySelector('.scroll').hasAttribute('data-below')")


def test_the_chosen_segment_stands_out_in_the_dark(chromium: object, report: Path) -> None:
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.1", color_scheme="dark")
    chosen = reader.page.evaluate(BRIGHTNESS, ".choice [aria-pressed=true]")
    assert chosen > reader.page.evaluate(BRIGHTNESS, ".choice") + 60
    reader.close()
