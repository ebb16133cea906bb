"""The front end in its two hosts: what a reader sees in a real browser, and what the server refuses."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from web_fixture import HOSTILE_LABEL, HOSTILE_LAYER, HOSTILE_NAME, LAYERS, write_study

from innersight.errors import InnersightError
from innersight.web import shell
from innersight.web.app import create_app, serve
from innersight.web.report import embed, write_report

SECTIONS = ("model", "pictures", "maps", "compare", "patterns", "classes", "evidence", "training", "about")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Pixels of the canvases below a selector that hold more than one colour, as [varied, all].
VARIED = """selector => {
  const canvases = [...document.querySelectorAll(`${selector} ins-tile[data-state=drawn] canvas`)];
  const varied = canvases.filter((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte, i) => byte !== data[i % 4]);
  });
  return [varied.length, canvases.length];
}"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def report(study: Path) -> Path:
    return write_report(study, study / "out" / "report.html")


# The files


def test_report_holds_everything_once_and_nothing_executable_from_the_data(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert html.count('<script type="module">') == 1
    assert "<script>" not in html.replace("\\u003cscript>", "")
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert [p.name for p in report.parent.iterdir()] == ["report.html"]


def test_report_of_no_study_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="make one with: innersight study"):
        write_report(tmp_path, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_report_that_fails_leaves_the_old_one(study: Path, tmp_path: Path) -> None:
    broken = tmp_path / "study"
    shutil.copytree(study / "web", broken / "web")
    (broken / "web" / "documents" / "train.json").write_text("{")
    out = tmp_path / "report.html"
    out.write_text("old")
    with pytest.raises(json.JSONDecodeError):
        write_report(broken, out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "study"]


def test_bundle_refuses_what_it_does_not_understand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "STATIC", tmp_path)
    (tmp_path / "main.js").write_text('import * as all from "./other.js";\n')
    with pytest.raises(ValueError, match="import and export forms"):
        shell.bundle()
    (tmp_path / "main.js").write_text('import { a } from "./main.js";\n')
    with pytest.raises(ValueError, match="circle"):
        shell.bundle()
    (tmp_path / "main.js").write_text('const text = "</script>";\n')
    with pytest.raises(ValueError, match="inline script"):
        shell.bundle()


@pytest.mark.parametrize(("constant", "name"), [("MAGMA", "magma"), ("RDBU_R", "RdBu_r")])
def test_colours_are_those_of_the_figures(constant: str, name: str) -> None:
    source = (shell.STATIC / "colour.js").read_text(encoding="utf-8")
    found = re.search(rf"{constant} = `([^`]*)`", source)
    assert found
    anchors = np.array([[int(text[i : i + 2], 16) for i in (0, 2, 4)] for text in found[1].split()])
    levels = np.linspace(0, len(anchors) - 1, 256)
    ours = np.stack([np.interp(levels, range(len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    theirs = 255 * matplotlib.colormaps[name](np.arange(256))[:, :3]
    assert np.abs(ours - theirs).max() < 4


def test_scripts_never_parse_markup() -> None:
    for path in shell.STATIC.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", text), path
        assert len(text.splitlines()) < 400, path


# The server


@pytest.fixture(scope="module")
def port(study: Path) -> Iterator[int]:
    with run(create_app(study)) as number:
        yield number


class run:  # noqa: N801 - reads as a verb
    """Serve an application on a free port from a thread while inside `with`."""

    def __init__(self, app: FastAPI) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> int:
        self.thread.start()
        until = time.monotonic() + 30
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


def get(port: int, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_app_serves_page_documents_and_files(port: int, study: Path) -> None:
    status, headers, body = get(port, "/")
    assert status == 200
    assert b"static/main.js" in body
    assert "'unsafe" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    keys = json.loads(get(port, "/api/documents")[2])
    assert f"layer/{HOSTILE_LAYER}" in keys
    for path in ("/static/main.js", "/static/style.css", "/api/documents/study", "/api/documents/layer/stem.conv"):
        status, headers, _ = get(port, path)
        assert (path, status, headers["x-content-type-options"]) == (path, 200, "nosniff")
    name = next((study / "web" / "files").glob("*.webp")).name
    status, headers, body = get(port, f"/files/{name}")
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert body == (study / "web" / "files" / name).read_bytes()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]:80", "192.168.0.7"])
def test_app_answers_this_machine(port: int, host: str) -> None:
    assert get(port, "/api/documents", host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "[evil]:80", "x:80"])
def test_app_refuses_other_hosts(port: int, host: str) -> None:
    status, headers, body = get(port, "/api/documents/study", host)
    assert status == 421
    assert b"format" not in body
    assert "content-security-policy" in headers


@pytest.mark.parametrize(
    "path",
    [
        "/files/../documents/study.json", "/files/..%2Fdocuments%2Fstudy.json", "/files/%2e%2e/documents/study.json",
        "/files//etc/passwd", "/files/%2Fetc%2Fpasswd", "/files/", "/files/.", "/files/link.png", "/files/a%00b",
        "/api/documents/../../secret", "/api/documents/..%2F..%2Fsecret", "/api/documents/layer/..%2F..%2Fstudy",
        "/api/documents/nothing", "/api/documents/", "/static/../shell.html", "/static/..%2Fshell.html", "/docs",
        "/openapi.json", "/files/" + "a" * 300,
    ],
)  # fmt: skip
def test_app_serves_nothing_else(tmp_path: Path, study: Path, path: str) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study / "web", folder / "web")
    (folder / "secret.json").write_text("{}")
    (folder / "web" / "files" / "link.png").symlink_to(folder / "secret.json")
    with run(create_app(folder)) as number:
        status, _, body = get(number, path)
    assert status in (400, 404), body


def test_serve_says_which_port_is_taken(study: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(InnersightError, match=f"port {number}.*try another port"):
            serve(study, port=number, open_browser=False)
    with pytest.raises(InnersightError, match="no study here"):
        serve(tmp_path, open_browser=False)


# The browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        if os.environ.get("INNERSIGHT_REQUIRE_BROWSER") == "1":
            pytest.fail("INNERSIGHT_REQUIRE_BROWSER=1, but there is no chromium")
        pytest.skip("no chromium at /usr/bin/chromium or on PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


class Reader:
    """A page opened in a fresh context, with everything that went wrong in it."""

    def __init__(self, chromium: Any, url: str, **options: Any) -> None:
        window = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
        self.context = chromium.new_context(**{**window, **options})
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        if url.startswith("file:"):
            self.context.route(re.compile("^https?:"), self._abort)
        self.page.goto(url)
        self.ready()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _abort(self, route: Any) -> None:
        self.requests.append(route.request.url)
        route.abort()

    def ready(self) -> None:
        self.page.wait_for_selector("html[data-ready=page]")

    def go(self, address: str, expected: str) -> None:
        self.page.evaluate("address => { location.hash = address; }", address)
        self.wait("text => document.querySelector('main h1, main h2').textContent.includes(text)", expected)

    def wait(self, expression: str, arg: object = None) -> None:
        """Wait until the expression holds. Playwright's own wait evaluates text in the page, which the page forbids."""
        until = time.monotonic() + 30
        while not self.page.evaluate(expression, arg):
            assert time.monotonic() < until, expression
            self.page.wait_for_timeout(20)

    def show(self, selector: str) -> list[int]:
        """Scroll there, wait until tiles are drawn, and return how many are varied, and how many there are."""
        self.page.evaluate("selector => document.querySelector(selector).scrollIntoView()", selector)
        self.wait(
            "selector => document.querySelectorAll(`${selector} ins-tile[data-state=drawn]`).length > 0",
            selector,
        )
        varied: list[int] = self.page.evaluate(VARIED, selector)
        return varied

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert self.requests == []


@pytest.fixture
def reader(chromium: Any, report: Path) -> Iterator[Reader]:
    opened = Reader(chromium, report.as_uri())
    yield opened
    opened.close()


@pytest.mark.browser
def test_report_shows_every_section_with_tiles(reader: Reader) -> None:
    shown = reader.page.evaluate("[...document.querySelectorAll('section.section')].map((section) => section.id)")
    assert shown == list(SECTIONS)
    for selector in (".journey", "#maps", "#compare", "#patterns", "#classes", "#evidence"):
        varied, drawn = reader.show(selector)
        assert varied > 0.8 * drawn > 0, selector
    assert reader.page.locator("#pictures img").count() == 2
    reader.wait("[...document.querySelectorAll('#pictures img')].every((image) => image.naturalWidth > 0)")
    assert reader.page.locator("#training svg path.line").count() >= 8
    assert reader.page.locator("#training svg path.ridge").count() >= 20
    assert reader.page.locator("#evidence .verdict").count() == 2
    assert reader.page.locator("#evidence .doubt").all_inner_texts() == [
        "Low confidence: no class has a probability above 0.31."
    ]
    assert reader.page.locator(".empty").count() == 0
    for text in ("No data set was scanned", "Recorded at every 20th step", "38.2 s"):
        assert reader.page.locator("#about").get_by_text(text).count() > 0


@pytest.mark.browser
def test_values_under_the_pointer_are_those_of_the_sheet(reader: Reader, study: Path) -> None:
    heatmaps = json.loads((study / "web" / "documents" / "heatmaps.json").read_text())
    entry = next(e for e in heatmaps["entries"] if e["method"] == "occlusion")
    figure = reader.page.locator("#evidence .heatmap", has_text="Occlusion").first
    figure.scroll_into_view_if_needed()
    area = figure.locator(".probe")
    box = area.bounding_box()
    assert box
    cell = (5, 3)
    area.hover(position={"x": box["width"] * (cell[0] + 0.5) / 12, "y": box["height"] * (cell[1] + 0.5) / 12})
    reader.wait("text => document.body.textContent.includes(text)", "x 160–192, y 96–128 px")
    from PIL import Image

    level = Image.open(study / "web" / "files" / entry["sheet"]["files"][0]).getpixel(cell)
    assert isinstance(level, int)
    value = entry["lo"] + (entry["hi"] - entry["lo"]) * level / 255
    shown = figure.locator(".readout").inner_text()
    assert float(shown.split()[0].replace("−", "-")) == pytest.approx(value, rel=0.006)
    assert "logits at" in shown


@pytest.mark.browser
def test_markup_in_names_is_text(reader: Reader) -> None:
    assert reader.page.locator("main script, main b").count() == 0
    assert reader.page.get_by_role("heading", name=HOSTILE_NAME).count() > 0
    assert HOSTILE_LABEL in reader.page.locator("#pictures .bars").last.inner_text()
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
        ("#/l/stages.2?overlay=1&scale=shared&sort=activity&picture=p1", "stages.2"),
        ("#/l/stem.conv?lens=weights", "stem.conv"),
        ("#/l/stages.0?lens=compare", "stages.0"),
        ("#/l/stages.1/u/7", "Unit 7"),
        ("#/i/p0", "ambra at the beach"),
        ("#/c/0", "ambra"),
    ],
)
def test_pages_have_tiles(reader: Reader, address: str, expected: str) -> None:
    reader.go(address, expected)
    varied, drawn = reader.show("main")
    assert varied > 0.8 * drawn > 0
    assert reader.page.locator("main .empty").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("#/nope", "Pages start with"),
        ("#/l/nope", "has no layer of this name"),
        ("#/l/stem.norm", "Nothing was computed"),
        ("#/l/stem.conv/u/32", "has the units 0 to 31"),
        ("#/l/stem.conv/u/-1", "has the units"),
        ("#/i/p9", "has the pictures p0, p1"),
        ("#/c/99", "has the classes 0 to 7"),
        ("#/l/%E0%A4%A", "broken % escape"),
    ],
)
def test_addresses_that_lead_nowhere_say_why(reader: Reader, address: str, why: str) -> None:
    reader.go(address, "There is no such page")
    assert why in reader.page.locator("main").inner_text()
    reader.page.get_by_role("link", name="Back to the story").click()
    reader.page.wait_for_selector("#maps")


@pytest.mark.browser
def test_layer_page_sorts_and_remembers(reader: Reader) -> None:
    reader.go("#/l/stages.2", "stages.2")
    assert reader.page.locator(".tiles .unit").first.inner_text() == "0"
    reader.page.get_by_label("Sort").select_option("activity")
    reader.page.get_by_role("button", name="Shared scale").click()
    reader.page.get_by_role("button", name="Over the picture").click()
    first = reader.page.locator(".tiles .unit").first.inner_text()
    assert reader.page.locator(".tiles .unit").last.inner_text() == "3"
    address = reader.page.evaluate("location.hash")
    assert all(part in address for part in ("sort=activity", "scale=shared", "overlay=1"))
    reader.page.reload()
    reader.ready()
    assert reader.page.locator(".tiles .unit").first.inner_text() == first
    assert reader.page.get_by_role("button", name="Shared scale").get_attribute("aria-pressed") == "true"


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
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("pattern of unit 2")
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
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Evidence").click()
    reader.wait("Math.abs(document.getElementById('evidence').getBoundingClientRect().top) < 200")
    reader.wait("document.querySelector('#sections [aria-current]')?.textContent === 'Evidence'")
    page.locator("#evidence h3 a").first.click()
    page.wait_for_selector(".picture-page")
    page.go_back()
    reader.wait("Math.abs(document.getElementById('evidence').getBoundingClientRect().top) < 700")


@pytest.mark.browser
def test_evidence_has_a_view_and_an_opacity(reader: Reader) -> None:
    page = reader.page
    reader.show("#evidence")
    reader.wait("document.querySelector('#evidence .heatmap ins-tile').dataset.state === 'drawn'")
    pixel = "() => document.querySelector('#evidence .heatmap canvas:not([hidden])').toDataURL()"
    overlay = page.evaluate(pixel)
    page.locator("#evidence").get_by_role("button", name="Map", exact=True).click()
    reader.wait(f"before => ({pixel})() !== before", overlay)
    page.locator("#evidence").get_by_role("button", name="Overlay").click()
    reader.wait(f"before => ({pixel})() === before", overlay)
    page.get_by_label("Opacity of the map").fill("20")
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
        ("#/train", "came about"),
        ("#/about", "How to read this"),
        ("#/nope", "no such page"),
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
def test_two_thousand_tiles_are_drawn_only_where_the_reader_is(chromium: Any, tmp_path: Path) -> None:
    report = write_report(write_study(tmp_path / "many", many=2048), tmp_path / "report.html")
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.2?overlay=1")
    assert reader.page.locator("main .tile").count() == 2048
    reader.show("main")
    assert reader.page.locator("main canvas").count() < 400
    reader.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    reader.wait("document.querySelector('main li:last-child ins-tile').dataset.state === 'drawn'")
    assert reader.page.locator("main canvas").count() < 400
    reader.close()


@pytest.mark.browser
def test_empty_panels_say_why(chromium: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    documents = tmp_path / "web" / "documents"
    for name in ("classes", "heatmaps", "train"):
        (documents / f"{name}.json").unlink()
    for path in (documents / "layer").iterdir():
        layer = json.loads(path.read_text())
        path.write_text(json.dumps({**layer, "maps": {}, "patterns": None, "compare": None, "kernels": None}))
    about = json.loads((documents / "study.json").read_text())
    about["missing"] = [{"what": "patterns", "why": "Nobody asked <i>for</i> them."}]
    (documents / "study.json").write_text(json.dumps(about))
    reader = Reader(chromium, write_report(tmp_path, tmp_path / "report.html").as_uri())
    for section in ("maps", "compare", "patterns", "classes", "evidence", "training"):
        assert len(reader.page.locator(f"#{section} .empty").inner_text()) > 20, section
    assert reader.page.locator("#patterns .empty").inner_text() == "Nobody asked <i>for</i> them."
    for address in ("#/l/stages.1", "#/l/stages.1?lens=compare", "#/l/stages.1/u/1", "#/i/p0", "#/c/0", "#/train"):
        reader.page.evaluate("address => { location.hash = address; }", address)
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
    frame.locator("html[data-ready=page]").wait_for()
    frame.locator(".journey ins-tile[data-state=drawn]").first.wait_for()
    frame.locator("#sections").get_by_role("link", name="Evidence").click()
    frame.locator("#evidence h3 a").first.click()
    frame.locator(".picture-page").wait_for()
    frame.locator("#sections").get_by_role("link", name="Maps").click()
    frame.locator("#maps h3 a").first.click()
    frame.get_by_role("button", name="Shared scale").click()
    frame.get_by_text("shared by all units").wait_for()
    assert page.url == notebook.as_uri()
    assert complaints == []
    context.close()


@pytest.mark.browser
def test_unknown_format_is_said(chromium: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    context = chromium.new_context()
    page = context.new_page()
    page.goto(write_report(tmp_path, tmp_path / "report.html").as_uri())
    page.wait_for_selector("#alarm:not([hidden])")
    assert "of format 2" in page.locator("#alarm").inner_text()
    context.close()


@pytest.mark.browser
def test_app_shows_the_same_story(chromium: Any, port: int) -> None:
    reader = Reader(chromium, f"http://127.0.0.1:{port}/")
    varied, drawn = reader.show("#maps")
    assert varied > 0.8 * drawn > 0
    reader.page.locator("#model .layers a", has_text=HOSTILE_LAYER).click()
    reader.wait("text => document.querySelector('h1').textContent === text", HOSTILE_LAYER)
    reader.go("#/l/stages.2/u/5", "Unit 5")
    reader.show("main")
    reader.close()
