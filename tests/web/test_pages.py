"""The pages in a real browser: what a reader sees, from the report and from the app."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from web_fixture import HOSTILE_LABEL, HOSTILE_LAYER, HOSTILE_NAME, LAYERS, write_study

from innersight.web.report import embed, write_report

SECTIONS = (
    "findings",
    "model",
    "images",
    "activations",
    "compare",
    "atlas",
    "patterns",
    "classes",
    "heatmaps",
    "training",
    "about",
)


@pytest.mark.browser
def test_report_shows_every_section_with_tiles(reader: Reader) -> None:
    shown = reader.page.evaluate("[...document.querySelectorAll('section.section')].map((section) => section.id)")
    assert shown == list(SECTIONS)
    for selector in (".journey", "#activations", "#compare", "#patterns", "#classes", "#heatmaps"):
        varied, drawn = reader.show(selector)
        assert varied > 0.8 * drawn > 0, selector
    assert reader.page.locator("#images img").count() == 2
    reader.wait("[...document.querySelectorAll('#images img')].every((image) => image.naturalWidth > 0)")
    assert reader.page.locator("#training svg path.line").count() >= 8
    assert reader.page.locator("#training svg path.ridge").count() >= 20
    assert reader.page.locator("#heatmaps .heatmap").count() == 4
    assert reader.page.locator("#heatmaps .doubt").all_inner_texts() == [
        "Low confidence: no class has a probability above 0.31."
    ]
    assert reader.page.locator(".empty").all_inner_texts() == ["No atlas was made."]
    for text in ("No data set was scanned", "Recorded at every 20th step", "38.2 s"):
        assert reader.page.locator("#about").get_by_text(text).count() > 0


@pytest.mark.browser
def test_values_under_the_pointer_are_those_of_the_sheet(reader: Reader, study: Path) -> None:
    heatmaps = json.loads((study / "web" / "documents" / "heatmaps.json").read_text())
    entry = next(e for e in heatmaps["entries"] if e["method"] == "occlusion")
    figure = reader.page.locator("#heatmaps .heatmap", has_text="Occlusion").first
    figure.scroll_into_view_if_needed()
    area = figure.locator(".probe")
    box = area.bounding_box()
    assert box
    cell = (5, 3)
    area.hover(position={"x": box["width"] * (cell[0] + 0.5) / 12, "y": box["height"] * (cell[1] + 0.5) / 12})
    reader.wait("text => document.body.textContent.includes(text)", "x 160–192, y 96–128 px")
    from PIL import Image as PILImage

    level = PILImage.open(study / "web" / "files" / entry["sheet"]["files"][0]).getpixel(cell)
    assert isinstance(level, int)
    value = entry["lo"] + (entry["hi"] - entry["lo"]) * level / 255
    shown = figure.locator(".readout").inner_text()
    assert float(shown.split()[0].replace("−", "-")) == pytest.approx(value, rel=0.006)
    assert "logits at" in shown


@pytest.mark.browser
def test_markup_in_names_is_text(reader: Reader) -> None:
    assert reader.page.locator("main script, main b").count() == 0
    assert reader.page.get_by_role("heading", name=HOSTILE_NAME).count() > 0
    assert HOSTILE_LABEL in reader.page.locator("#images .bars").last.inner_text()
    reader.page.locator("#model .layers a", has_text=HOSTILE_LAYER).click()
    reader.wait("text => document.querySelector('h1').textContent === text", HOSTILE_LAYER)
    reader.go("#/c/7", HOSTILE_LABEL)
    reader.go("#/i/p1", HOSTILE_NAME)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("#/l/stem.conv", "stem.conv"),
        ("#/l/stages.2?lens=patterns&sort=score", "stages.2"),
        ("#/l/stages.2?overlay=1&scale=shared&sort=activity&image=p1", "stages.2"),
        ("#/l/stem.conv?lens=weights", "stem.conv"),
        ("#/l/stages.0?lens=compare", "stages.0"),
        ("#/l/stages.0?lens=examples&sort=selectivity", "stages.0"),
        ("#/x?units=stem.conv:3,stages.1:7", "Units side by side"),
        ("#/l/stages.1/u/7", "Unit 7"),
        ("#/i/p0", "ambra at the beach"),
        ("#/c/0", "ambra"),
        ("#/findings", "1 fault confirmed"),
    ],
)
def test_pages_have_tiles(reader: Reader, address: str, expected: str) -> None:
    reader.go(address, expected)
    varied, drawn = reader.show("main")
    assert varied > 0.8 * drawn > 0
    # What a report cannot do, and what this study has not.
    left_out = {
        "#/i/p0": ["Switching units and concepts off and hiding regions runs the network, so it needs the app: "
                   "innersight view STUDY."],
        "#/c/0": ["No data set was scanned."],
    }  # fmt: skip
    assert reader.page.locator("main .empty").all_inner_texts() == left_out.get(address, [])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("#/nope", "Addresses have the form"),
        ("#/l/nope", "has no layer of this name"),
        ("#/l/stem.norm", "Layers in this study: stem.conv"),
        ("#/l/stem.conv/u/32", "has the units 0 to 31"),
        ("#/l/stem.conv/u/-1", "has the units"),
        ("#/i/p9", "contains the images p0, p1"),
        ("#/c/99", "has classes 0 to 7"),
        ("#/l/%E0%A4%A", "invalid % escape"),
    ],
)
def test_addresses_that_lead_nowhere_say_why(reader: Reader, address: str, why: str) -> None:
    reader.go(address, "This layer was not computed" if address == "#/l/stem.norm" else "Page not found")
    assert why in reader.page.locator("main").inner_text()
    reader.page.get_by_role("link", name="Back to the overview").click()
    reader.page.wait_for_selector("#activations")


@pytest.mark.browser
def test_layer_page_sorts_and_remembers(reader: Reader) -> None:
    reader.go("#/l/stages.2", "stages.2")
    assert reader.page.locator(".tiles .unit").first.inner_text() == "0"
    reader.page.get_by_label("Sort").select_option("activity")
    reader.page.get_by_role("button", name="Shared scale").click()
    reader.page.get_by_role("button", name="Overlay").click()
    first = reader.page.locator(".tiles .unit").first.inner_text()
    # Unit 3 is silent.
    assert "3" not in reader.page.locator(".tiles .unit").all_inner_texts()
    address = reader.page.evaluate("location.hash")
    assert all(part in address for part in ("sort=activity", "scale=shared", "overlay=1"))
    reader.page.reload()
    reader.ready()
    assert reader.page.locator(".tiles .unit").first.inner_text() == first
    assert reader.page.get_by_role("button", name="Shared scale").get_attribute("aria-pressed") == "true"


@pytest.mark.browser
@pytest.mark.parametrize("lens", ["patterns", "examples"])
def test_units_stand_by_number_whatever_was_drawn_first(reader: Reader, lens: str) -> None:
    reader.go(f"#/l/stages.1?lens={lens}", "stages.1")
    shown = [int(text) for text in reader.page.locator("main .caption .unit").all_inner_texts()]
    assert len(shown) > 2
    assert shown == sorted(shown)


@pytest.mark.browser
def test_keyboard_alone_is_enough(reader: Reader) -> None:
    page = reader.page
    page.locator("#patterns .tile").nth(2).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert "unit 2" in dialog.locator("h2").inner_text()
    assert dialog.locator(".strip figure").count() == 2
    page.keyboard.press("ArrowRight")
    assert "unit 3" in dialog.locator("h2").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    reader.wait("document.querySelector('dialog') === null")
    assert "pattern of unit 2 of" in page.evaluate("document.activeElement.textContent")
    reader.go("#/l/stages.1/u/0", "Unit 0")
    page.keyboard.press("j")
    reader.wait("document.querySelector('h1').textContent === 'Unit 1'")
    page.keyboard.press("k")
    reader.wait("document.querySelector('h1').textContent === 'Unit 0'")
    page.locator(".probe").first.focus()
    page.keyboard.press("ArrowDown")
    reader.wait("document.querySelector('.readout').textContent.includes('px')")


@pytest.mark.browser
def test_links_to_sections_scroll_there_and_back_returns(reader: Reader) -> None:
    page = reader.page
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Heatmaps").click()
    reader.wait("Math.abs(document.getElementById('heatmaps').getBoundingClientRect().top) < 200")
    reader.wait("document.querySelector('#sections [aria-current]')?.textContent === 'Heatmaps'")
    page.locator("#heatmaps h3 a").first.click()
    page.wait_for_selector(".image-page")
    page.go_back()
    reader.wait("Math.abs(document.getElementById('heatmaps').getBoundingClientRect().top) < 700")


@pytest.mark.browser
def test_heatmaps_have_a_view_and_an_opacity(reader: Reader) -> None:
    page = reader.page
    reader.show("#heatmaps")
    reader.wait("document.querySelector('#heatmaps .heatmap ins-tile').dataset.state === 'drawn'")
    pixel = "() => document.querySelector('#heatmaps .heatmap canvas:not([hidden])').toDataURL()"
    overlay = page.evaluate(pixel)
    page.locator("#heatmaps").get_by_role("button", name="Heatmap", exact=True).click()
    reader.wait(f"before => ({pixel})() !== before", overlay)
    page.locator("#heatmaps").get_by_role("button", name="Overlay").click()
    reader.wait(f"before => ({pixel})() === before", overlay)
    page.get_by_label("Opacity of the heatmap").fill("20")
    reader.wait(f"before => ({pixel})() !== before", overlay)


@pytest.mark.browser
def test_narrow_window_never_scrolls_sideways(chromium: Any, report: Path) -> None:
    reader = Reader(chromium, report.as_uri(), viewport={"width": 390, "height": 844})
    assert reader.overflow() <= 0
    for address, expected in (
        ("#/l/stem.conv?lens=compare", "stem.conv"),
        (f"#/l/{LAYERS[3][0]}/u/1", "Unit 1"),
        ("#/i/p1", HOSTILE_NAME),
        ("#/c/7", HOSTILE_LABEL),
        ("#/train", "was trained"),
        ("#/about", "How this study"),
        ("#/nope", "Page not found"),
    ):
        reader.go(address, expected)
        assert reader.overflow() <= 0, address
    reader.close()


@pytest.mark.browser
def test_dark_and_light_follow_the_system_and_the_button(chromium: Any, report: Path) -> None:
    reader = Reader(chromium, report.as_uri(), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert reader.page.evaluate(ground) == "rgb(20, 18, 23)"
    reader.page.get_by_role("button", name="Switch to light colours").click()
    assert reader.page.evaluate(ground) == "rgb(251, 250, 248)"
    reader.page.get_by_role("button", name="Switch to dark colours").click()
    assert reader.page.evaluate(ground) == "rgb(20, 18, 23)"
    reader.close()


@pytest.mark.browser
def test_of_many_tiles_only_those_near_the_reader_are_there(chromium: Any, tmp_path: Path) -> None:
    report = write_report(write_study(tmp_path / "many", many=2048), tmp_path / "report.html")
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.2?overlay=1")
    reader.show("main")
    assert 20 < reader.page.locator("main .tile").count() < 400
    assert reader.page.locator("main li").first.get_attribute("aria-setsize") == "2047"
    height = reader.page.evaluate("document.documentElement.scrollHeight")
    reader.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    # The rows from before the scroll may still be there for a moment, drawn already.
    reader.wait("document.querySelector('main li:last-child .unit')?.textContent === '2047'")
    reader.wait("document.querySelector('main li:last-child ins-tile')?.dataset.state === 'drawn'")
    assert reader.page.locator("main .tile").count() < 400
    assert abs(reader.page.evaluate("document.documentElement.scrollHeight") - height) < 200
    reader.close()


@pytest.mark.browser
def test_empty_panels_say_why(chromium: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    documents = tmp_path / "web" / "documents"
    for name in ("classes", "heatmaps", "training"):
        (documents / f"{name}.json").unlink()
    for path in (documents / "layer").iterdir():
        layer = json.loads(path.read_text())
        nothing = ("patterns", "compare", "weights", "scan", "examples", "ablation", "connections", "field")
        path.write_text(json.dumps({**layer, "activations": {}, **dict.fromkeys(nothing)}))
    about = json.loads((documents / "study.json").read_text())
    about["missing"] = [{"what": "patterns", "why": "Nobody asked <i>for</i> them."}]
    (documents / "study.json").write_text(json.dumps(about))
    reader = Reader(chromium, write_report(tmp_path, tmp_path / "report.html").as_uri())
    for section in ("activations", "compare", "patterns", "classes", "heatmaps", "training"):
        assert len(reader.page.locator(f"#{section} .empty").inner_text()) > 20, section
    assert reader.page.locator("#patterns .empty").inner_text() == "Nobody asked <i>for</i> them."
    # Every page follows one with another head: the panel that is found is its own.
    pages = {"#/l/stages.1": "stages.1", "#/x": "Units side by side", "#/l/stages.1?lens=compare": "stages.1",
             "#/i/p0": "ambra", "#/l/stages.1?lens=examples": "stages.1", "#/l/stages.1/u/1": "Unit 1",
             "#/train": "How", "#/c/0": "ambra"}  # fmt: skip
    for address, head in pages.items():
        reader.go(address, head)
        reader.page.wait_for_selector("main .page .empty")
    reader.close()


@pytest.mark.browser
def test_notebook_frame_works_and_is_fenced(chromium: Any, study: Path, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><title>notebook</title><h1>Cell</h1>{embed(study)}", encoding="utf-8")
    context = chromium.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    # The whole report goes through an attribute of the page.
    frame.locator("html[data-ready=page]").wait_for(timeout=90_000)
    frame.locator("#findings ins-tile").first.scroll_into_view_if_needed()
    frame.locator("#findings ins-tile[data-state=drawn]").first.wait_for()
    frame.locator("#sections").get_by_role("link", name="Heatmaps").click()
    frame.locator("#heatmaps h3 a").first.click()
    frame.locator(".image-page").wait_for()
    frame.locator("#sections").get_by_role("link", name="Activations").click()
    frame.locator("#activations h3 a").first.click()
    frame.get_by_role("button", name="Shared scale").click()
    frame.get_by_text("one scale for all units").wait_for()
    assert page.url == notebook.as_uri()
    assert complaints == []
    context.close()


@pytest.mark.browser
def test_unknown_format_is_said(chromium: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3}))
    context = chromium.new_context()
    page = context.new_page()
    page.goto(write_report(tmp_path, tmp_path / "report.html").as_uri())
    page.wait_for_selector("#alarm:not([hidden])")
    assert "has format 3" in page.locator("#alarm").inner_text()
    context.close()


@pytest.mark.browser
def test_app_shows_the_same_pages(chromium: Any, port: int) -> None:
    reader = Reader(chromium, f"http://127.0.0.1:{port}/")
    varied, drawn = reader.show("#activations")
    assert varied > 0.8 * drawn > 0
    reader.page.locator("#model .layers a", has_text=HOSTILE_LAYER).click()
    reader.wait("text => document.querySelector('h1').textContent === text", HOSTILE_LAYER)
    reader.go("#/l/stages.2/u/5", "Unit 5")
    reader.show("main")
    reader.close()


@pytest.mark.browser
def test_classes_show_their_strongest_and_their_natural_pattern(anywhere: Reader) -> None:
    anywhere.go("#/c/0", "ambra")
    page = anywhere.page
    assert page.get_by_role("heading", name="Natural pattern", exact=True).is_visible()
    assert "Its logit is +4.5." in page.locator("main").inner_text()
    anywhere.go("#/", "Eight drawn")
    grid = page.get_by_role("list", name="Natural class patterns")
    assert (
        grid.locator("li").count() == page.get_by_role("list", name="Class patterns", exact=True).locator("li").count()
    )
    assert "--net run:DIR --robust 2" in page.locator("#classes").inner_text()
