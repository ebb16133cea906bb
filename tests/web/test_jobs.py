"""What the page says of jobs and of a study that grows: names, times, links to what came of them."""

from __future__ import annotations

import json
import shutil
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
