"""No page has a serious fault that axe finds: in light, in dark and on a narrow window; and all of it by keyboard."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from web_fixture import LAYERS

LAST = LAYERS[3][0]
PAGES = {
    "#/": "Eight drawn",
    f"#/l/{LAST}": LAST,
    f"#/l/{LAST}?lens=patterns": LAST,
    f"#/l/{LAST}?lens=examples": LAST,
    "#/l/stem.conv?lens=weights": "stem.conv",
    f"#/l/{LAST}?lens=compare": LAST,
    f"#/l/{LAST}/u/1?pins={LAST}:1,p0": "Unit 1",
    f"#/x?units={LAST}:1,stem.conv:2,nope:1": "Units side by side",
    "#/i/p0": "ambra",
    "#/c/0": "ambra",
    "#/findings": "1 fault confirmed",
    "#/train": "was trained",
    "#/about": "How this study",
    "#/nope": "Page not found",
}
WINDOWS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}},
    # A window of 1280 px at 200%.
    "zoomed": {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2},
}
RUN = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`))"""


MOVING = """() => [...document.querySelectorAll("*")].filter((one) => {
  const { transitionDuration, transitionProperty, animationName, scrollBehavior } = getComputedStyle(one);
  return (transitionProperty !== "none" && parseFloat(transitionDuration) > 0) || animationName !== "none"
    || scrollBehavior === "smooth";
}).map((one) => `${one.tagName}.${one.className}`)"""
# A host, and the window in which axe looks at a page there.
PLACES = [*(("report", window) for window in WINDOWS), ("app", "dark")]


def serious(reader: Reader, axe: str) -> list[str]:
    """Return the serious faults that axe finds on the page at hand, and whether anything moves or is too wide.

    The pages of the app allow no script of others: it runs apart from them.
    """
    reader.page.wait_for_timeout(250)
    world = reader.context.new_cdp_session(reader.page)
    answer = world.send(
        "Runtime.evaluate", {"expression": f"{axe}; ({RUN})()", "awaitPromise": True, "returnByValue": True}
    )
    world.detach()
    found: list[str] = answer["result"]["value"]
    wide = reader.overflow()
    return [*found, *reader.page.evaluate(MOVING), *([f"{wide} px too wide"] if wide > 0 else [])]


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core: the file named in INNERSIGHT_AXE, else that of the package axe-core-python."""
    named = os.environ.get("INNERSIGHT_AXE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    found = find_spec("axe_core_python")
    if found is None or found.origin is None:
        if os.environ.get("INNERSIGHT_REQUIRE_BROWSER") == "1":
            pytest.fail("INNERSIGHT_REQUIRE_BROWSER=1, but there is no axe: pip install axe-core-python")
        pytest.skip("no axe: pip install axe-core-python, or name axe.min.js in INNERSIGHT_AXE")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("window", WINDOWS)
def test_axe_finds_nothing_serious(chromium: Any, report: Path, axe: str, window: str) -> None:
    reader = Reader(chromium, report.as_uri(), **WINDOWS[window])
    reader.page.evaluate(axe)
    found = []
    for address, expected in PAGES.items():
        reader.go(address, expected)
        found += [f"{address}: {fault}" for fault in serious(reader, axe)]
    for key in ("/", "?"):
        reader.page.keyboard.press(key)
        reader.page.wait_for_selector("dialog[open]")
        found += [f"dialog {key}: {fault}" for fault in reader.page.evaluate(RUN)]
        reader.page.keyboard.press("Escape")
        reader.wait("document.querySelector('dialog') === null")
    assert found == []
    reader.close()


@pytest.mark.browser
def test_axe_finds_nothing_serious_in_the_app(chromium: Any, port: int, axe: str) -> None:
    reader = Reader(chromium, f"http://127.0.0.1:{port}/", color_scheme="dark")
    found = []
    for address in ("#/", f"#/l/{LAST}?lens=compare", "#/i/p0", "#/train", "#/c/0"):
        reader.go(address, PAGES.get(address, LAST))
        found += [f"{address}: {fault}" for fault in serious(reader, axe)]
    assert found == []
    reader.close()


SPILLED = """() => [...document.querySelectorAll("main section, main .abreast, main .group")]
  .filter((one) => one.clientHeight && one.scrollHeight > one.clientHeight + 4)
  .filter((one) => getComputedStyle(one).overflow === "visible")
  .map((one) => `${one.id}.${one.className}: ${one.scrollHeight} in ${one.clientHeight}`)"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_part_of_a_page_lies_over_another(chromium: Any, report: Path, width: int) -> None:
    reader = Reader(chromium, report.as_uri(), viewport={"width": width, "height": 900})
    for page, heading in PAGES.items():
        reader.go(page, heading)
        assert reader.page.evaluate(SPILLED) == [], page
    reader.close()


@pytest.mark.browser
def test_nothing_moves_for_who_asked_for_less_motion(chromium: Any, report: Path) -> None:
    for motion, still in (("reduce", True), ("no-preference", False)):
        reader = Reader(chromium, report.as_uri(), reduced_motion=motion)
        assert (reader.page.evaluate(MOVING) == []) is still
        reader.close()


@pytest.mark.browser
def test_everything_that_can_be_clicked_can_be_reached(reader: Reader) -> None:
    for address, expected in PAGES.items():
        reader.go(address, expected)
        lost = reader.page.evaluate(
            """() => [...document.querySelectorAll("a, button, input, select, summary, [role=application]")]
              .filter((one) => one.tabIndex < 0 || !(one.textContent.trim() || one.ariaLabel || one.labels?.length
                || one.querySelector("[aria-label]")))
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert lost == [], address
