"""The page of the app computes: from empty panels, below pages, and for images dropped onto it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from PIL import Image as PILImage
from serving import Serving

from innersight import toons
from innersight.sources import load
from innersight.study import Plan, study
from innersight.web.app import create_app

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("INNERSIGHT_SCREENSHOTS")
DROP = """([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(bytes)], name));
  for (const kind of ["dragenter", "dragover"]) {
    dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, cancelable: true }));
  }
  const shown = !document.querySelector(".drop-note").hidden;
  dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
  return shown;
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    for i, name in enumerate(toons.CLASSES[:2]):
        PILImage.fromarray(toons.draw(name, 3 + i).pixels).save(folder / f"{name}.png")
    images = sorted(folder.glob("*.png"))
    done = study(load("toon", device="cpu"), images, folder / "s", plan=Plan(layers=("stage1",), units=0, steps=4))
    done.render()
    return done.folder


class Visit(Reader):
    """A page of the app, which computes while the reader waits."""

    patience = 60.0

    def __init__(self, chromium: Any, port: int, hash: str) -> None:
        super().__init__(chromium, f"http://127.0.0.1:{port}/{hash}")

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s"))


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    with Serving(create_app(folder, model=load("toon", device="cpu"))) as number:
        yield number


@pytest.fixture
def visit(chromium: Any, port: int, request: pytest.FixtureRequest) -> Iterator[Visit]:
    opened = Visit(chromium, port, getattr(request, "param", ""))
    yield opened
    opened.close()


def bytes_of(name: str, seed: int) -> list[int]:
    buffer = io.BytesIO()
    PILImage.fromarray(toons.draw(name, seed).pixels).save(buffer, "PNG")
    return list(buffer.getvalue())


DRAWN = "selector => document.querySelectorAll(`${selector} ins-tile[data-state=drawn]`).length > 0"


@pytest.mark.parametrize("visit", ["#/l/stage2"], indirect=True)
def test_a_layer_that_was_left_out_is_computed_from_its_page(visit: Visit) -> None:
    page = visit.page
    button = page.get_by_role("button", name="Compute the activation maps of this layer")
    button.wait_for()
    visit.shot("live-lost")
    button.click()
    page.locator(".job", has_text="Activations of stage2").wait_for()
    visit.wait(DRAWN, "main")
    visit.shot("live-maps")
    assert page.locator("h1").inner_text() == "stage2"
    visit.wait("document.querySelectorAll('.job').length === 0")


@pytest.mark.parametrize("visit", ["#/l/stage1?lens=patterns"], indirect=True)
def test_patterns_are_drawn_from_the_empty_panel_and_then_more(visit: Visit) -> None:
    page = visit.page
    button = page.get_by_role("button", name="Compute 16 patterns")
    button.wait_for()
    visit.shot("live-empty")
    button.click()
    assert button.is_disabled()
    visit.wait(DRAWN, "main")
    more = page.get_by_role("button", name="Compute 16 more patterns")
    more.wait_for()
    more.scroll_into_view_if_needed()
    visit.shot("live-more")
    visit.wait("document.querySelector('.page > .offer-row').textContent.includes('16 of')")
    assert page.locator("main .tiles li").count() == 16


@pytest.mark.parametrize("visit", ["#/l/stage1/u/5"], indirect=True)
def test_the_pattern_of_one_unit(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Compute the pattern of this unit").click()
    visit.wait("!document.querySelector('[data-missing=patterns]')")
    visit.wait(DRAWN, "main .unit-pattern")


@pytest.mark.parametrize("visit", ["#/l/stage1/u/7"], indirect=True)
def test_connections_of_one_unit_appear_and_keep_the_focus(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Compute the connections of this unit").click()
    page.get_by_role("button", name="Next unit").focus()
    part = page.get_by_role("region", name="Connections")
    part.locator(".bars li").first.wait_for()
    part.scroll_into_view_if_needed()
    visit.shot("live-connections")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Next unit"
    heads = part.locator("h3").all_inner_texts()
    assert {"From stem, by attribution", "To stage2, by attribution"} <= set(heads)
    first = part.locator("a.bar-label").first
    layer, _, unit = first.inner_text().partition(":")
    first.click()
    visit.wait("address => location.hash === address", f"#/l/{layer}/u/{unit}")
    page.get_by_role("button", name="Compute the activation maps of this layer").wait_for()


def test_a_dropped_image_is_added(visit: Visit) -> None:
    assert visit.page.evaluate(DROP, [bytes_of(toons.CLASSES[4], 11), "drop<b>ped.png"])
    visit.wait("location.hash.startsWith('#/i/d')")
    visit.wait("document.querySelector('h1').textContent === 'drop<b>ped.png'")
    visit.page.locator(".bars").first.wait_for()
    visit.page.locator("main .heatmap").first.scroll_into_view_if_needed()
    visit.wait(DRAWN, "main .heatmap")
    visit.shot("live-dropped")
    page = visit.page
    page.locator(".request-form select").first.wait_for()
    target, versus, method = page.locator(".request-form select").all()
    target.select_option(label=toons.CLASSES[0])
    versus.select_option(label=toons.CLASSES[1])
    method.select_option("saliency")
    page.get_by_role("button", name="Compute heatmaps").click()
    visit.wait(
        "text => document.querySelector('main').textContent.includes(text)",
        f"{toons.CLASSES[0]} vs {toons.CLASSES[1]}",
    )
    # The page scrolls to the new heatmap.
    name = f"{toons.CLASSES[0]} vs {toons.CLASSES[1]}"
    assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
    visit.page.locator("main .heatmap").first.scroll_into_view_if_needed()
    visit.wait(DRAWN, "main .heatmap")
    page.get_by_role("region", name="Compute another heatmap").scroll_into_view_if_needed()
    visit.shot("live-question")
    visit.page.goto(visit.page.url.partition("#")[0])
    visit.page.wait_for_selector("html[data-ready=page]")
    assert visit.page.locator("#images article").count() == 3


def test_a_dropped_image_is_removed_again(visit: Visit) -> None:
    page = visit.page
    assert page.evaluate(DROP, [bytes_of("ambra", 9), "again.png"])
    page.get_by_role("heading", name="again.png").first.wait_for()
    button = page.get_by_role("button", name="Remove this image from the study")
    button.wait_for()
    page.keyboard.press("p")
    button.scroll_into_view_if_needed()
    visit.shot("live-forget")
    button.click()
    visit.wait("location.hash.startsWith('#/') && !location.hash.includes('/i/')")
    visit.wait("!document.body.textContent.includes('again.png')")
    assert page.evaluate("fetch('api/documents/study').then((r) => r.json()).then((s) => s.images.length)") == 2


def test_the_button_takes_images_too_and_refusals_are_said(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no")
    page = visit.page
    page.get_by_role("button", name="Add an image").wait_for()
    page.locator("input[type=file]").set_input_files(str(tmp_path / "no.png"))
    alert = page.locator(".drop-problem")
    alert.wait_for()
    assert "no.png: not an image" in alert.inner_text()
    # The browser logs the refusal; the page says it.
    assert all("415" in text for text in visit.complaints)
    visit.complaints.clear()


@pytest.mark.parametrize("visit", ["#/l/stage1?lens=patterns"], indirect=True)
def test_a_job_is_cancelled_and_the_study_stays_whole(visit: Visit, chromium: Any, port: int) -> None:
    page = visit.page
    # Long enough to be cancelled: all at once, twice.
    page.evaluate("""async () => {
      for (const units of [[...Array(16).keys()], [...Array(16).keys()].map((i) => i + 16)]) {
        await fetch("api/jobs", { method: "POST", headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ kind: "patterns", layer: "stage1", units }) });
      }
    }""")
    # Another visitor finds both, and cancels the one that waits.
    other = Visit(chromium, port, "")
    other.page.locator(".job", has_text="Patterns of stage1").first.wait_for()
    while other.page.get_by_role("button", name="Cancel").count():
        other.page.get_by_role("button", name="Cancel").last.click()
        other.page.wait_for_timeout(100)
    other.wait("document.querySelectorAll('.job:not([data-state=cancelled]):not([data-state=done])').length === 0")
    states = other.page.evaluate("async () => (await (await fetch('api/jobs')).json()).map((job) => job.state)")
    assert states[-1] == "cancelled"
    other.close()
    page.reload()
    page.wait_for_selector("html[data-ready=page]")
    assert page.locator("main .empty, main .tiles").count() > 0


def test_another_window_sees_a_job_and_what_came_of_it(visit: Visit, chromium: Any, port: int) -> None:
    other = Visit(chromium, port, "#/l/stage2")
    other.page.get_by_role("button", name="Compute the activation maps of this layer").wait_for()
    # Both are open when the job is asked for in one of them.
    visit.page.evaluate("""() => fetch("api/jobs", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ kind: "activations", layer: "stage2" }) })""")
    other.page.locator(".job", has_text="Activations of stage2").wait_for()
    other.wait(DRAWN, "main")
    other.close()


@pytest.mark.parametrize("visit", ["#/i/p1"], indirect=True)
def test_another_heatmap_appears_where_the_reader_sees_it(visit: Visit) -> None:
    page = visit.page
    form = page.get_by_role("region", name="Compute another heatmap")
    form.get_by_label(re.compile("^Class")).select_option("1")
    form.get_by_label("Compared with").select_option("3")
    form.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    form.get_by_role("button", name="Compute heatmaps").click()
    chosen = page.get_by_role("group", name="Class explained").get_by_role("button", pressed=True)
    page.get_by_role("group", name="Class explained").wait_for()
    chosen.filter(has_text=" vs ").wait_for()
    assert page.evaluate("scrollY") < before
    visit.shot("live-question")


@pytest.mark.parametrize("visit", ["#/l/stage1"], indirect=True)
def test_offers_follow_the_lens(visit: Visit) -> None:
    page = visit.page
    offers = page.locator("main .offer")
    page.get_by_role("button", name="Patterns", exact=True).click()
    page.locator(".offer", has_text="patterns").wait_for()
    page.get_by_role("button", name="Activations", exact=True).click()
    visit.wait("![...document.querySelectorAll('main .offer')].some((offer) => offer.textContent.includes('patterns'))")
    page.get_by_role("button", name="Patterns", exact=True).click()
    page.locator(".offer", has_text="patterns").wait_for()
    assert offers.count() == 1


@pytest.mark.parametrize("visit", ["#/c/ambra"], indirect=True)
def test_a_class_is_asked_for_by_its_label_too(visit: Visit) -> None:
    asks = visit.page.locator("main .offer").first.get_attribute("data-requests")
    assert asks is not None
    assert json.loads(asks) == [{"kind": "classes", "classes": [0]}]


@pytest.mark.parametrize("visit", ["#/x"], indirect=True)
def test_a_view_without_units_is_not_exported(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Export this view").click()
    visit.page.locator(".bad-text", has_text="This view contains no unit").wait_for()


@pytest.mark.parametrize("visit", ["#/x?units=stage1:3,stage1:5&imgs=p1"], indirect=True)
def test_what_is_pinned_is_exported(visit: Visit, chromium: Any, tmp_path: Path) -> None:
    button = visit.page.get_by_role("button", name="Export this view")
    button.wait_for()
    visit.shot("live-export")
    with visit.page.expect_download() as download:
        button.click()
    out = tmp_path / "view.html"
    download.value.save_as(out)
    context = chromium.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(out.as_uri())
    page.wait_for_selector("html[data-ready=page]")
    assert page.url.endswith("#/x?units=stage1:3,stage1:5&imgs=p1")
    page.locator("main ins-tile[data-state=drawn]").first.wait_for()
    page.goto(f"{out.as_uri()}#/")
    page.locator("#images article").first.wait_for()
    assert page.locator("#images article").count() == 1
    # The pinned units and no others, on every page.
    page.goto(f"{out.as_uri()}#/l/stage1")
    page.get_by_role("heading", name="stage1", exact=True).wait_for()
    assert page.locator("main .caption .unit").all_inner_texts() == ["3", "5"]
    page.goto(f"{out.as_uri()}#/l/stage1/u/4")
    page.get_by_text("This file contains only the units 3, 5 of stage1.").wait_for()
    page.goto(f"{out.as_uri()}#/l/stage1/u/3")
    page.locator("main .unit-map ins-tile[data-state=drawn]").first.wait_for()
    page.keyboard.press("j")
    page.get_by_role("heading", name="Unit 5").wait_for()
    assert complaints == []
    context.close()


def test_a_host_that_cannot_compute_says_what_to_do(chromium: Any, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "index.sqlite")) as db, db:
        db.execute("""UPDATE items SET document = replace(document, '"toon"', '"nn.Module Net"') WHERE key = 'model'""")
    with Serving(create_app(folder)) as number:
        opened = Visit(chromium, number, "#/l/stage1?lens=patterns")
        opened.page.locator(".offer-row", has_text="study.view(model=...)").wait_for()
        assert opened.page.get_by_role("button", name="Add an image").count() == 0
        opened.close()


def test_a_report_offers_nothing(chromium: Any, folder: Path, tmp_path: Path) -> None:
    from innersight.web.report import write_report

    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{write_report(folder, tmp_path / 'report.html').as_uri()}#/l/stage1?lens=patterns")
    page.wait_for_selector("html[data-ready=page]")
    assert page.locator(".empty").count() == 1
    assert page.locator(".offer, .jobs, .add").count() == 0
    context.close()


def test_a_large_report_is_a_page_and_a_folder(
    chromium: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innersight.web import report

    out = tmp_path / "out" / "big.html"
    monkeypatch.setattr(report, "LARGEST", 200_000)
    report.write_report(folder, out)
    # The page holds the front end and next to nothing of the study.
    static = Path(report.__file__).parent / "static"
    front_end = sum(path.stat().st_size for path in static.rglob("*") if path.is_file())
    assert out.stat().st_size < front_end + 50_000
    assert sorted(path.name for path in out.parent.iterdir()) == ["big.html", "big_parts"]
    context = chromium.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{out.as_uri()}#/l/stage1")
    page.wait_for_selector("html[data-ready=page]")
    page.locator("main ins-tile[data-state=drawn]").first.wait_for()
    assert page.locator(".offer, .jobs, .add").count() == 0
    page.goto(f"{out.as_uri()}#/i/p0")
    page.locator(".heatmaps ins-tile").first.scroll_into_view_if_needed()
    page.locator(".heatmaps ins-tile[data-state=drawn]").first.wait_for()
    assert complaints == []
    context.close()
    monkeypatch.undo()
    report.write_report(folder, out)
    assert [path.name for path in out.parent.iterdir()] == ["big.html"]
