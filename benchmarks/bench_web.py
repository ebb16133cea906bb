"""How fast the pages are in a browser: first paint, time to interactive, the longest frame of a scroll, memory."""

import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.timing import Row
from innersight.web.app import create_app
from innersight.web.report import write_report

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "web")]

UNITS = (500, 4_000, 40_000)
ROUNDS = 3
PAGE = "#/l/stages.2"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
READY = "performance.getEntriesByName('page')[0]?.startTime ?? NaN"
# Scrolls a fifth of a window in every frame for two seconds and returns the longest time between two frames, in ms.
SCROLL = """() => new Promise((resolve) => {
  let longest = 0, last = performance.now();
  const begun = last;
  const step = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    if (now - begun > 2000) return resolve(longest);
    scrollBy({ top: innerHeight / 5, behavior: "instant" });
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def measure() -> list[Row]:
    """Return rows in seconds; the last ones of each size are memory in MB, and say so."""
    from browser import launched
    from serving import Serving
    from web_fixture import write_study

    rows = []
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        chromium = stack.enter_context(contextmanager(launched)())
        for units in UNITS:
            study = write_study(Path(folder) / str(units), many=units)
            report = write_report(study, study / "report.html")
            port = stack.enter_context(Serving(create_app(study)))
            hosts = {"report": report.as_uri(), "app": f"http://127.0.0.1:{port}/"}
            found = {host: [_visit(chromium, url + PAGE) for _ in range(ROUNDS)] for host, url in hosts.items()}
            size = f"{units} units, {report.stat().st_size / 1e6:.1f} MB"
            for key, target in TARGETS.items():
                values = {host: [one[key] for one in visits] for host, visits in found.items()}
                rows.append(_row(f"{key}, {size}", values, target))
            shutil.rmtree(study)
    return rows


SMOOTH = "longest frame while scrolling"
TARGETS = {"first paint": "", "interactive": "at most 1 s", SMOOTH: "at most 0.0334 s", "memory of the tab (GB)": ""}


def _visit(chromium: Any, url: str) -> dict[str, float]:
    """Open the page in a fresh context and return what TARGETS names."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-ready=page]")
    page.wait_for_selector("main ins-tile[data-state=drawn]")
    time.sleep(0.5)
    paint, ready = page.evaluate(PAINT) / 1e3, page.evaluate(READY) / 1e3
    longest = page.evaluate(SCROLL) / 1e3
    memory = _memory(chromium)
    context.close()
    return dict(zip(TARGETS, (paint, ready, longest, memory), strict=True))


def _memory(chromium: Any) -> float:
    """Return the largest resident memory of the processes that draw pages, in GB; Linux tells it."""
    found = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    drawing = [Path(f"/proc/{one['id']}/status").read_text() for one in found if one["type"] == "renderer"]
    return max(int(text.split("VmRSS:")[1].split()[0]) for text in drawing) / 1e6


def _row(what: str, values: dict[str, list[float]], target: str) -> Row:
    names = {"report": "innersight", "app": "innersight view"}
    middle = {names[host]: statistics.median(found) for host, found in values.items()}
    spread = {
        names[host]: (max(found) - min(found)) / 2 / max(1e-9, statistics.median(found))
        for host, found in values.items()
    }
    return Row(what, middle, spread, target)
