"""A reader in a real browser."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Tiles below a selector that are in the window, as [drawn, all].
IN_VIEW = """selector => {
  const tiles = [...document.querySelectorAll(`${selector} ins-tile`)].filter((tile) => {
    const { top, bottom } = tile.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  });
  return [tiles.filter((tile) => tile.dataset.state === "drawn").length, tiles.length];
}"""
# Pixels of the canvases below a selector that hold more than one colour, as [varied, all].
VARIED = """selector => {
  const canvases = [...document.querySelectorAll(`${selector} ins-tile[data-state=drawn] canvas`)];
  const varied = canvases.filter((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((byte, i) => byte !== data[i % 4]);
  });
  return [varied.length, canvases.length];
}"""


def launched() -> Iterator[Any]:
    """Yield the running Chromium; skip, or fail where one is required, without."""
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        if os.environ.get("INNERSIGHT_REQUIRE_BROWSER") == "1":
            pytest.fail("INNERSIGHT_REQUIRE_BROWSER=1, but there is no chromium")
        pytest.skip("no chromium at /usr/bin/chromium or on PATH")
    yield _running(found)


@cache
def _running(path: str) -> Any:
    """Start Chromium once for all tests of a process: Playwright refuses to be started twice."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
    atexit.register(lambda: (browser.close(), playwright.stop()))
    return browser


class Reader:
    """A page opened in a fresh context, with everything that went wrong in it. patience : seconds that waits take."""

    patience = 30.0

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
        until = time.monotonic() + self.patience
        while not self.page.evaluate(expression, arg):
            assert time.monotonic() < until, (expression, self.page.locator("main").inner_text()[:800])
            self.page.wait_for_timeout(20)

    def show(self, selector: str) -> list[int]:
        """Scroll there, wait until tiles are drawn, and return how many are varied, and how many there are."""
        self.page.evaluate("selector => document.querySelector(selector).scrollIntoView()", selector)
        self.wait(
            f"selector => {{ const [drawn, all] = ({IN_VIEW})(selector); return all > 0 && drawn === all; }}", selector
        )
        varied: list[int] = self.page.evaluate(VARIED, selector)
        return varied

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert self.requests == []


Edit = Callable[[dict[str, Any]], None]
Opened = Callable[..., Reader]
