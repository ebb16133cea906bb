"""Edit and watch in a browser: switches, the brush, by pointer and by keyboard; a report says that it needs the app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from serving import Serving, ask
from test_accessible import RUN, axe  # noqa: F401 - a fixture

from innersight import toons
from innersight.sources import load
from innersight.study import Plan, study
from innersight.web.app import create_app
from innersight.web.report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("edits") / "s"
    images = [toons.draw(name, 5).pixels for name in toons.CLASSES[:2]]
    plan = Plan(layers=("stage3", "stage4"), units=0, steps=1, methods=("gradcam",), concepts=4, trust=0)
    study(load("toon", device="cpu"), images, out, plan=plan).render()
    return out


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with Serving(create_app(folder, model=load("toon", device="cpu"))) as number:
        yield number


class Editor(Reader):
    patience = 90.0

    def after(self) -> dict[int, str]:
        rows = self.page.locator(".before-after tbody tr").all()
        return {int(row.get_attribute("data-class")): row.locator("td").nth(1).inner_text() for row in rows}

    def settled(self, text: str) -> None:
        """Wait until the sentence under the prediction holds a text."""
        self.wait("text => document.querySelector('.edit [role=status]')?.textContent.includes(text)", text)


def percent(value: float) -> str:
    return "< 0.1%" if 0 < value < 0.001 else f"{100 * value:.{1 if value < 0.9995 else 0}f}%"


@pytest.mark.parametrize("width", [1280, 390])
def test_switches_and_brush_change_the_prediction(width: int, chromium: Any, port: int, axe: str) -> None:  # noqa: F811
    reader = Editor(chromium, f"http://127.0.0.1:{port}/#/i/p0", viewport={"width": width, "height": 900})
    page = reader.page
    page.locator(".switch").first.wait_for()
    assert page.locator(".before-after").count() == 0
    first = page.locator(".switch").first
    unit = first.get_attribute("data-address")
    assert unit.startswith("stage")
    first.click()
    assert first.get_attribute("aria-checked") == "false"
    reader.settled(f"{unit}: the activation map was set to 0")
    truth = ask(port, "POST", "/api/edit", {"image": "p0", "off": [unit]})
    assert reader.after() == {row["number"]: percent(row["after"]) for row in truth["classes"]}
    assert f"off={unit}" in page.url
    # A concept too, by keyboard.
    concept = page.locator(".switch[data-address*='~']").first
    concept.focus()
    page.keyboard.press("Space")
    reader.settled("taken out of stage4")
    both = ask(port, "POST", "/api/edit", {"image": "p0", "off": [unit, concept.get_attribute("data-address")]})
    assert reader.after() == {row["number"]: percent(row["after"]) for row in both["classes"]}
    page.get_by_role("button", name="Undo all").click()
    reader.settled("Nothing is changed")
    # The brush: a stroke of the pointer, then a square by keyboard, then the other filling.
    brush = page.locator(".brush")
    brush.scroll_into_view_if_needed()
    box = brush.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    reader.settled("Gaussian blur")
    stroke = float(re.search(r"([\d.]+)% of what", page.locator(".edit [role=status]").inner_text())[1])
    assert 0.8 < stroke < 4
    brush.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Space"):
        page.keyboard.press(key)
    reader.wait("before => { const text = document.querySelector('.edit [role=status]').textContent;"
                " return parseFloat(/([0-9.]+)% of what/.exec(text)?.[1]) > before; }", stroke)  # fmt: skip
    page.get_by_role("button", name="Mean colour").click()
    reader.settled("mean colour of the image")
    # Any unit by its address; what is no unit is said.
    page.get_by_label("Address of a unit or concept").fill("stage9:1")
    page.get_by_role("button", name="Switch off").click()
    assert "No layer of that name" in page.locator(".edit-add [role=alert]").inner_text()
    page.get_by_label("Address of a unit or concept").fill("stage2:5")
    page.get_by_role("button", name="Switch off").click()
    reader.settled("stage2:5: the activation map was set to 0")
    assert reader.overflow() <= 0
    page.evaluate(axe)
    assert page.evaluate(RUN) == []
    # The link holds what is off.
    page.reload()
    reader.ready()
    reader.settled("stage2:5: the activation map was set to 0")
    reader.close()


def test_a_report_says_that_it_needs_the_app(chromium: Any, folder: Path) -> None:
    report = write_report(folder, folder.parent / "report.html")
    reader = Reader(chromium, report.as_uri())
    reader.go("#/i/p0", "")
    assert "innersight view STUDY" in reader.page.locator(".empty", has_text="hiding regions").inner_text()
    assert reader.page.locator(".brush").count() == 0
    reader.close()
