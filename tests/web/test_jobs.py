"""What the page says of jobs and of a study that grows: names, times, links to what came of them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from PIL import Image as PILImage
from serving import Serving

from innersight import toons
from innersight.sources import load
from innersight.storage.store import Store
from innersight.study import Plan, Study, study
from innersight.web.app import create_app

pytestmark = pytest.mark.browser
PLAN = Plan(layers=("stage1",), units=0, steps=4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for i, name in enumerate(toons.CLASSES[:2]):
        PILImage.fromarray(toons.draw(name, 3 + i).pixels).save(folder / f"{name}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def made(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = study(load("toon", device="cpu"), images, tmp_path_factory.mktemp("jobs") / "s", plan=PLAN)
    done.render()
    return done.folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s"))


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with Serving(create_app(folder, model=load("toon", device="cpu"))) as number:
        yield f"http://127.0.0.1:{number}/"


def test_a_job_says_how_long_and_leads_to_what_came_of_it(chromium: Any, address: str) -> None:
    reader = Reader(chromium, f"{address}#/l/stage2")
    page = reader.page
    page.get_by_role("button", name="Compute the activation maps of this layer").click()
    page.locator(".job", has_text="Activations of stage2").wait_for()
    reader.go("#/", "")
    page.locator(".job[data-state=done]").get_by_role("link", name="Show").click()
    reader.wait("document.querySelector('main h1')?.textContent === 'stage2'")
    assert page.locator(".job").count() == 0
    jobs = page.evaluate("async () => (await fetch('api/jobs')).json()")
    assert 0 < jobs[0]["seconds"] < 60
    reader.close()


def test_a_job_of_a_class_bears_its_label(chromium: Any, address: str) -> None:
    reader = Reader(chromium, f"{address}#/c/3")
    page = reader.page
    page.get_by_role("button", name="Compute the pattern of this class").click()
    page.locator(".job .job-name", has_text=f"Pattern of {toons.CLASSES[3]}").wait_for()
    reader.wait("document.querySelector('.job[data-state=done] a')?.hash === '#/c/3'")
    reader.close()


def test_a_study_computed_elsewhere_grows_on_the_open_page(
    chromium: Any, address: str, folder: Path, images: list[Path]
) -> None:
    reader = Reader(chromium, f"{address}#/l/stage2")
    page = reader.page
    assert page.locator("main h1").inner_text() == "This layer was not computed"
    assert page.locator(".growing").is_hidden()
    with Store.open(folder).locked():
        page.get_by_text("This study is still being computed").wait_for()
    study(load("toon", device="cpu"), images, folder, plan=Plan(layers=("stage1", "stage2"), units=0, steps=4)).render()
    reader.wait("document.querySelector('main h1')?.textContent === 'stage2'")
    reader.wait("document.querySelector('.growing').hidden")
    reader.close()


def test_jobs_in_a_narrow_window_are_a_bar_that_covers_nothing_for_good(chromium: Any, address: str) -> None:
    reader = Reader(chromium, f"{address}#/l/stage1/u/5", viewport={"width": 390, "height": 844})
    page = reader.page
    page.get_by_role("button", name="Compute the pattern of this unit").click()
    page.locator(".job .job-name", has_text="Pattern of stage1:5").wait_for()
    bar = page.locator(".jobs").bounding_box()
    assert bar is not None
    assert (bar["x"], bar["width"], bar["y"] + bar["height"]) == (0, 390, 844)
    assert float(page.evaluate("parseFloat(getComputedStyle(document.body).paddingBottom)")) >= bar["height"]
    reader.wait("document.querySelector('.job[data-state=done] a')?.hash === '#/l/stage1/u/5'")
    reader.close()


class StopError(Exception):
    """Ends a study where the test wants it."""


def test_a_study_stopped_before_the_test_of_heatmaps_does_not_ask_for_images(tmp_path: Path) -> None:
    def stop(done: int, total: int, words: str) -> None:
        if words == "trust":
            raise StopError

    images = [toons.draw(toons.CLASSES[i], 40 + i).pixels for i in range(10)]
    with pytest.raises(StopError):
        study(load("toon", device="cpu"), images, tmp_path / "s", plan=PLAN, progress=stop)
    Study.open(tmp_path / "s").render()
    about = json.loads((tmp_path / "s" / "web" / "documents" / "study.json").read_text())
    (why,) = [entry["why"] for entry in about["missing"] if entry["what"] == "trust"]
    assert "have not been tested yet" in why
    assert "at least" not in why


class Played:
    """Jobs that a page believes to be computed: what the server would say of one, and when it hears of a cancel."""

    def __init__(self, page: Any, *events: dict[str, Any]) -> None:
        self.job: dict[str, Any] = {
            "id": "0" * 16, "request": {"kind": "activations", "layer": "stage2"}, "state": "waiting", "share": 0.0,
            "what": "", "documents": [], "error": None, "seconds": 0.0,
        }  # fmt: skip
        self.page, self.events, self.cancels, self.asked = page, events, [], 0
        page.route("**/api/jobs", self._jobs)
        page.route("**/api/jobs/*/events", self._events)
        page.route("**/api/jobs/0000000000000000", self._cancel)

    def _jobs(self, route: Any) -> None:
        self.asked += route.request.method == "POST"
        route.fulfill(json=[] if route.request.method == "GET" else self.job)

    def _events(self, route: Any) -> None:
        lines = [f"event: job\ndata: {json.dumps({**self.job, **event})}\n\n" for event in self.events]
        route.fulfill(content_type="text/event-stream", body="retry: 100000\n\n" + "".join(lines))

    def _cancel(self, route: Any) -> None:
        # The answer waits until the test gives it.
        self.cancels.append(route)

    def answer(self) -> None:
        # A click returns before its request has arrived.
        until = time.monotonic() + 30
        while not self.cancels and time.monotonic() < until:
            self.page.wait_for_timeout(20)
        (route,) = self.cancels
        route.fulfill(json={**self.job, "state": "cancelled"})


def begun(chromium: Any, address: str, *events: dict[str, Any]) -> tuple[Reader, Played]:
    reader = Reader(chromium, f"{address}#/l/stage2")
    played = Played(reader.page, *events)
    reader.page.evaluate(
        """() => {
          window.bars = [];
          new MutationObserver(() => {
            const bar = document.querySelector(".job progress");
            if (bar) window.bars.push(bar.value);
          }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["value"] });
        }"""
    )
    reader.page.get_by_role("button", name="Compute the activation maps of this layer").click()
    reader.page.locator(".job").wait_for()
    return reader, played


def test_a_cancel_is_acknowledged_before_the_server_answers(chromium: Any, address: str) -> None:
    reader, played = begun(chromium, address, {"state": "running", "share": 0.1, "what": "activations of stage2"})
    state = reader.page.locator(".job-state")
    reader.page.locator(".job", has_text="activations of stage2").wait_for()
    reader.page.locator(".job").get_by_role("button", name="Cancel").click()
    assert state.inner_text() == "Cancelling …"
    assert reader.page.locator(".job").get_by_role("button", name="Cancel").is_disabled()
    # A second passes, and it still says so.
    reader.page.wait_for_timeout(1200)
    assert state.inner_text() == "Cancelling …"
    played.answer()
    reader.wait("document.querySelector('.job-state').textContent === 'Cancelled'")
    reader.close()


def test_a_bar_never_goes_back_and_the_time_left_is_that_of_the_work_itself(chromium: Any, address: str) -> None:
    opening = {"state": "running", "share": 0.0, "what": "opening the network", "seconds": 20.0}
    work = [
        {"state": "running", "share": share, "what": "activations of stage2", "seconds": seconds}
        for share, seconds in ((0.2, 22.0), (0.5, 25.0), (0.35, 26.0), (0.6, 28.0), (0.5, 30.0))
    ]
    reader, _ = begun(chromium, address, opening, *work)
    reader.page.locator(".job-state", has_text="left").wait_for()
    reader.wait("document.querySelector('.job-state').textContent.includes('30 s so far')")
    # 10 s of work for half of it, not 30 s with the opening of the network.
    assert "about 10 s left" in reader.page.locator(".job-state").inner_text()
    bars = reader.page.evaluate("window.bars")
    assert bars == sorted(bars)
    assert bars[-1] == 0.6
    reader.close()


def test_what_is_queued_is_not_offered_again(chromium: Any, address: str) -> None:
    reader, played = begun(chromium, address, {"state": "waiting"})
    offer = reader.page.get_by_role("button", name="Compute the activation maps of this layer")
    assert offer.is_disabled()
    reader.go("#/i/p0", "")
    reader.go("#/l/stage2", "This layer")
    reader.wait("document.querySelector('.offer')?.disabled")
    assert played.asked == 1
    reader.page.locator(".job").get_by_role("button", name="Cancel").click()
    played.answer()
    reader.wait("document.querySelector('.offer') && !document.querySelector('.offer').disabled")
    reader.close()
