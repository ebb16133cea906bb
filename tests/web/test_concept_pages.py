"""Concepts in a browser: the first screen, the sum, one concept alone, the dictionary, cards, search and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from concept_study import ADDRESS, CONCEPTS, HOSTILE_LABEL, LABEL, LAYER, VALUES, write_concepts
from serving import Serving
from test_accessible import RUN, WINDOWS, axe  # noqa: F401 - a fixture

from innersight.web.app import create_app
from innersight.web.report import write_report

pytestmark = pytest.mark.browser
# The colours of cells [x, y] of the image, as shares of its sides, over grey.
COLOURS = """cells => { const canvas = document.querySelector(".concept-image .probe canvas");
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return cells.map(([x, y]) => [...context.getImageData(x * copy.width, y * copy.height, 1, 1).data.slice(0, 3)]); }"""


@pytest.fixture(scope="session")
def concept_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_concepts(tmp_path_factory.mktemp("concepts"))


@pytest.fixture(scope="session")
def concept_report(concept_study: Path) -> str:
    return write_report(concept_study, concept_study / "out" / "report.html").as_uri()


@pytest.fixture(scope="session")
def concept_port(concept_study: Path) -> Iterator[int]:
    with Serving(create_app(concept_study)) as number:
        yield number


@pytest.fixture(params=["report", "app"])
def anywhere(request: pytest.FixtureRequest, chromium: Any, concept_report: str, concept_port: int) -> Iterator[Reader]:
    opened = Reader(chromium, concept_report if request.param == "report" else f"http://127.0.0.1:{concept_port}/")
    yield opened
    opened.close()


@pytest.fixture
def reader(chromium: Any, concept_report: str) -> Iterator[Reader]:
    opened = Reader(chromium, concept_report)
    yield opened
    opened.close()


def number(text: str) -> float:
    return float(text.split()[0].replace("−", "-").replace("+", ""))


def drawn(reader: Reader) -> None:
    reader.wait("document.querySelector('.concept-image .probe ins-tile')?.dataset.state === 'drawn'")


def images(study: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((study / "web" / "documents" / "study.json").read_text())["images"]
    return found


def test_the_surest_image_comes_first_and_its_parts_sum_to_the_score(anywhere: Reader, concept_study: Path) -> None:
    page = anywhere.page
    drawn(anywhere)
    rows = images(concept_study)
    # One that is classified rightly before the others.
    rows.sort(key=lambda row: (row["truth"] != row["prediction"][0]["label"], -row["prediction"][0]["probability"]))
    best = rows[0]
    assert [row["truth"] == row["prediction"][0]["label"] for row in rows] == [True, False]
    assert page.locator(".concept-image").get_attribute("data-address") == best["id"]
    # It is above everything but the title.
    assert page.evaluate("document.querySelector('.concept-image').getBoundingClientRect().top") < 330
    assert page.locator(".concept-verdict").inner_text().startswith(best["prediction"][0]["label"])
    for i, image in enumerate(rows):
        page.get_by_role("group", name="Image, the surest first").get_by_role("button").nth(i).click()
        anywhere.wait("id => document.querySelector('.concept-image').dataset.address === id", image["id"])
        drawn(anywhere)
        values = [number(text) for text in page.locator(".sum .sum-value").all_inner_texts()]
        *parts, total = values
        assert sum(parts) == pytest.approx(total, abs=0.01 * len(parts))
        assert total == pytest.approx(sum(VALUES[image["id"]]) + 0.51, abs=0.005)
        assert len(parts) == 4 + 2


def test_each_cell_has_the_colour_of_its_strongest_concept(reader: Reader) -> None:
    reader.go("#/i/p0", "ambra")
    drawn(reader)
    left, right = reader.page.evaluate(COLOURS, [[0.2, 0.5], [0.8, 0.5]])
    # The first group, orange, and the second, blue.
    assert left[0] > left[2] + 60
    assert right[2] > right[0] + 40
    rows = reader.page.locator(".sum a")
    assert [row.get_attribute("data-concept") for row in rows.all()] == ["4", "1", "2", "3"]
    rows.nth(1).hover()
    reader.page.wait_for_timeout(200)
    alone_left, alone_right = reader.page.evaluate(COLOURS, [[0.2, 0.5], [0.8, 0.5]])
    assert alone_left[2] >= alone_left[0]
    assert alone_right[2] > alone_right[0] + 40
    reader.page.mouse.move(5, 5)
    reader.page.wait_for_timeout(200)
    assert reader.page.evaluate(COLOURS, [[0.2, 0.5]])[0][0] > left[2] + 60


def test_a_location_lists_its_concepts_and_units(anywhere: Reader) -> None:
    anywhere.go("#/i/p0", "ambra")
    drawn(anywhere)
    page = anywhere.page
    page.locator(".concept-image .probe").scroll_into_view_if_needed()
    box = page.locator(".concept-image .probe").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    page.locator(".dictionary-list").first.wait_for()
    entries = page.locator(".dictionary-part").first.locator("li")
    assert [text.split("\n")[0] for text in entries.all_inner_texts()] == [LABEL, "nmf:1"]
    assert entries.nth(0).inner_text().split("\n")[1].startswith("5")
    units = page.locator(".dictionary-part").nth(1).locator("a").evaluate_all("all => all.map((one) => one.hash)")
    assert all(f"#/l/{LAYER}/u/" in one for one in units)
    # By keyboard, from the middle to the right.
    page.mouse.move(5, 5)
    page.locator(".concept-image .probe").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    anywhere.wait("document.querySelector('.dictionary-part li')?.textContent.includes('nmf:1')")
    assert page.locator(".dictionary-part").first.locator("li").count() == 1


def test_cards_are_sorted_by_contribution_and_filtered_by_class(anywhere: Reader) -> None:
    anywhere.go(f"#/concepts/{LAYER}", f"Concepts of {LAYER}")
    page = anywhere.page
    ids = "[...document.querySelectorAll('.concept')].map(({ id }) => id)"
    assert page.evaluate(ids) == [f"concept-nmf-{k}" for k in (4, 1, 0, 2, 3, 5)]
    assert page.locator("#concept-nmf-4 h3").inner_text().startswith(LABEL)
    assert page.locator("#concept-nmf-4 .concept-units a").first.get_attribute("href") == f"#/l/{LAYER}/u/7"
    effects = page.locator("#concept-nmf-4 .concept-class").first.locator(".effect-row")
    assert [text.split("\n")[-1] for text in effects.all_inner_texts()] == ["+1", "−1"]
    assert page.locator("#concept-nmf-4 .effect-whisker").count() == 4
    assert "95% interval +1 to +4" in (effects.first.get_attribute("title") or "")
    assert page.locator("#concept-nmf-0 .effect-whisker").count() == 0
    page.get_by_label("Class").select_option(label=HOSTILE_LABEL)
    assert page.evaluate(ids) == ["concept-nmf-2"]
    assert "class=7" in page.evaluate("location.hash")
    page.get_by_label("Class").select_option("")
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('.concept')?.id") == "concept-nmf-1"


def test_an_address_leads_to_a_card(anywhere: Reader) -> None:
    anywhere.go(f"#/concepts/{LAYER}/nmf/3", f"Concepts of {LAYER}")
    assert anywhere.page.evaluate("document.activeElement.id") == "concept-nmf-3"
    top = "document.querySelector('#concept-nmf-3').getBoundingClientRect().top"
    anywhere.wait(f"{top} >= 0 && {top} < innerHeight / 2")
    anywhere.go(f"#/concepts/{LAYER}/nmf/{CONCEPTS}", "Page not found")
    anywhere.go("#/concepts/stem.conv", "No such concepts")


def test_search_units_and_classes_lead_to_concepts(anywhere: Reader) -> None:
    page = anywhere.page
    for text, expected in ((" hair", LABEL), ("nmf:5", "nmf:5"), (f"{ADDRESS}:2", f"{ADDRESS}:2")):
        page.keyboard.press("/")
        page.get_by_role("combobox", name="Search").fill(text)
        assert expected in page.locator("#found li").first.inner_text()
        page.keyboard.press("Escape")
        anywhere.wait("document.querySelector('dialog') === null")
    anywhere.go(f"#/l/{LAYER}/u/7", "Unit 7")
    link = page.locator("a[href='#/concepts/stages.2/nmf/4']")
    link.wait_for()
    assert "weight 0.6" in page.locator("li", has=link).inner_text()
    anywhere.go("#/c/7", HOSTILE_LABEL)
    page.locator(f"main a[href='#/concepts/{LAYER}/nmf/2']").wait_for()
    anywhere.go(f"#/l/{ADDRESS}/u/4", "Unit 4")
    page.locator(f"main a[href='#/concepts/{LAYER}/nmf/4']").wait_for()


def test_of_selected_images_a_report_shows_these_alone(chromium: Any, concept_study: Path, tmp_path: Path) -> None:
    part = write_report(concept_study, tmp_path / "part.html", images=["p1"])
    reader = Reader(chromium, part.as_uri())
    drawn(reader)
    assert reader.page.locator(".concept-image").get_attribute("data-address") == "p1"
    assert reader.page.get_by_role("group", name="Image, the surest first").count() == 0
    reader.close()


@pytest.mark.parametrize("window", WINDOWS)
def test_axe_finds_nothing_serious(chromium: Any, concept_report: str, axe: str, window: str) -> None:  # noqa: F811
    reader = Reader(chromium, concept_report, **WINDOWS[window])
    reader.page.evaluate(axe)
    found = []
    pages = {"#/": "Eight drawn", f"#/concepts/{LAYER}": "Concepts of", "#/i/p1": "it's", "#/c/0": "ambra"}
    for address, expected in pages.items():
        reader.go(address, expected)
        reader.page.wait_for_timeout(250)
        found += [f"{address}: {fault}" for fault in reader.page.evaluate(RUN)]
        assert reader.overflow() <= 0, address
    assert found == []
    reader.close()
