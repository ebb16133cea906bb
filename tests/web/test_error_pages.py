"""The error explorer in a browser: from what is confused with what to the images, and one image into the study."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Reader
from PIL import Image as PILImage
from serving import Serving
from test_accessible import PLACES, WINDOWS, axe, serious  # noqa: F401 - a fixture

from innersight.scan import scan
from innersight.sources import load
from innersight.storage.store import Store
from innersight.study import Plan, study
from innersight.study.documents import write_documents
from innersight.toons import CLASSES, draw
from innersight.web.app import create_app
from innersight.web.report import write_report

pytestmark = pytest.mark.browser
COUNT = 20  # images of a class, half of them darkened until the network errs


@pytest.fixture(scope="session")
def error_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("errors")
    for name in CLASSES[:3]:
        (folder / "images" / name).mkdir(parents=True)
        for seed in range(COUNT):
            pixels = draw(name, seed=seed).pixels
            pixels = (pixels * 0.16).astype(np.uint8) if seed % 2 else pixels
            PILImage.fromarray(pixels).save(folder / "images" / name / f"{seed:02}.png")
    model = load("toon")
    scan(model, folder / "images", ["stage4"], out=folder / "study")
    first = folder / "images" / CLASSES[0] / "00.png"
    plan = Plan(layers=("stage4",), units=0, methods=("saliency",), trust=0, concepts=4, rivals=False)
    study(model, [first], out=folder / "study", plan=plan)
    write_documents(Store.open(folder / "study"))
    return folder / "study"


@pytest.fixture(scope="session")
def error_report(error_study: Path) -> str:
    return write_report(error_study, error_study / "report.html").as_uri()


@pytest.fixture(scope="session")
def error_port(error_study: Path) -> Iterator[int]:
    with Serving(create_app(error_study)) as number:
        yield number


@pytest.fixture(params=["report", "app"])
def anywhere(request: pytest.FixtureRequest, chromium: Any, error_report: str, error_port: int) -> Iterator[Reader]:
    opened = Reader(chromium, error_report if request.param == "report" else f"http://127.0.0.1:{error_port}/")
    yield opened
    opened.close()


@pytest.fixture
def reader(chromium: Any, error_report: str) -> Iterator[Reader]:
    opened = Reader(chromium, error_report)
    yield opened
    opened.close()


def test_from_a_confusion_to_its_images_and_why(anywhere: Reader) -> None:
    anywhere.go("#/errors", "of 60 images are wrong")
    page = anywhere.page
    first = page.locator(".confusions a").first
    row, column = first.locator("strong").all_inner_texts()
    images = int(first.locator(".tabular").inner_text().split()[0])
    first.click()
    anywhere.wait("() => location.hash.includes('class=')")
    assert page.locator("#selection-title").inner_text() == f"{row}, predicted as {column}"
    assert page.locator(".error-images .tiles li").count() == images
    assert f"{images} labelled images in the scan" in page.locator("#selection").inner_text()
    # The cell of the matrix is the same selection, and is marked.
    assert page.locator(".error-cell a[aria-current]").inner_text() == str(images)
    page.locator(".error-images .tile").first.click()
    dialog = page.locator("dialog[open]")
    assert f"it is {row}" in dialog.inner_text()
    assert dialog.locator(".bars li").count() == 5


def test_the_darkness_of_mistakes_is_named(anywhere: Reader) -> None:
    anywhere.go("#/errors", "of 60 images are wrong")
    assert "darker" in anywhere.page.locator(".differences").inner_text()


def test_filters_are_in_the_link_and_back_again(anywhere: Reader) -> None:
    anywhere.go("#/errors", "of 60 images are wrong")
    page = anywhere.page
    page.get_by_label("Right or wrong").select_option("no")
    anywhere.wait("() => location.hash === '#/errors?right=no'")
    wrong = page.locator(".error-images .note.warn").count()
    assert wrong == page.locator(".error-images .tiles li").count() > 0
    page.get_by_label("Confidence from").select_option("0.5")
    anywhere.wait("() => location.hash === '#/errors?right=no&from=0.5'")
    sure = page.locator(".error-images .tiles li").count()
    assert sure < wrong
    page.locator(".error-filters label", has_text="Concept").locator("select").select_option("0")
    anywhere.wait("() => location.hash.includes('concept=0&on=yes')")
    on = page.locator(".error-images .tiles li").count()
    page.locator(".error-filters label").last.locator("select").select_option("no")
    anywhere.wait("() => location.hash.includes('on=no')")
    assert on + page.locator(".error-images .tiles li").count() == sure
    page.go_back()
    anywhere.wait("() => location.hash.includes('on=yes')")
    page.get_by_text("Clear the selection").click()
    anywhere.wait("() => location.hash === '#/errors'")


def test_what_a_link_names_wrongly_selects_nothing(reader: Reader) -> None:
    reader.go("#/errors?class=99&predicted=x&from=7&right=maybe&concept=400", "of 60 images are wrong")
    assert reader.page.locator("#selection-title").inner_text() == "All images"


def test_a_class_from_the_scan(anywhere: Reader) -> None:
    anywhere.go("#/c/0", CLASSES[0])
    text = anywhere.page.locator(".page").inner_text()
    assert "of 20 images" in text
    assert "Taken for" in text
    assert "Surest, and wrong" in text
    # A class of the network of which no image was scanned.
    anywhere.go("#/c/9", CLASSES[9])
    assert f"No scanned image is labelled {CLASSES[9]}" in anywhere.page.locator(".page").inner_text()


def test_a_report_names_the_command_and_the_app_adds_the_image(
    chromium: Any, error_report: str, error_port: int
) -> None:
    opened = Reader(chromium, error_report)
    opened.go("#/errors?right=no", "of 60 images are wrong")
    opened.page.locator(".error-images .tile").first.click()
    assert "innersight explain toon" in opened.page.locator("dialog[open]").inner_text()
    opened.close()
    opened = Reader(chromium, f"http://127.0.0.1:{error_port}/")
    opened.go("#/errors?right=no", "of 60 images are wrong")
    opened.page.locator(".error-images .tile").first.click()
    opened.page.locator("dialog[open] button.offer").click()
    opened.patience = 120.0
    opened.wait("() => location.hash.startsWith('#/i/d')")
    opened.wait("() => document.querySelector('.image-page')")
    # Its class is known from the scan.
    assert "true class" in opened.page.locator(".image-page").inner_text()
    opened.close()


def test_search_and_navigation_lead_there(anywhere: Reader) -> None:
    anywhere.go("#/", "")
    anywhere.page.locator("#search").click()
    anywhere.page.locator("dialog input").fill("confusion")
    assert "Errors" in anywhere.page.locator("#found").inner_text()
    assert anywhere.page.locator("#sections a[href='#/errors']").count() == 1


def test_without_a_scan_the_page_says_how(opened: Any) -> None:
    reader = opened("#/errors")
    reader.wait("() => document.querySelector('[data-missing=errors]')")
    assert "innersight scan MODEL FOLDER" in reader.page.locator("[data-missing=errors]").inner_text()


@pytest.mark.parametrize(("host", "window"), PLACES)
def test_axe_finds_nothing_serious_on_errors(
    host: str,
    window: str,
    chromium: Any,
    error_report: str,
    error_port: int,
    axe: str,  # noqa: F811
) -> None:
    address = error_report if host == "report" else f"http://127.0.0.1:{error_port}/"
    reader = Reader(chromium, address, **WINDOWS[window])
    reader.go("#/c/0", CLASSES[0])
    assert serious(reader, axe) == []
    reader.go("#/errors?class=0", "of 60 images are wrong")
    assert serious(reader, axe) == []
    reader.page.locator(".error-images .tile").first.click()
    reader.page.wait_for_selector("dialog[open]")
    assert serious(reader, axe) == []
    reader.page.keyboard.press("Escape")
    reader.close()


def test_everything_on_the_page_is_reached_by_keyboard(anywhere: Reader) -> None:
    anywhere.go("#/errors", "of 60 images are wrong")
    wanted = {".confusions a", ".error-cell a", ".error-filters select", ".error-images .tile"}
    reached: set[str] = set()
    for _ in range(400):
        anywhere.page.keyboard.press("Tab")
        reached |= {one for one in wanted if anywhere.page.evaluate("one => document.activeElement.matches(one)", one)}
        if reached == wanted:
            break
    assert reached == wanted
    anywhere.page.keyboard.press("Enter")
    anywhere.page.wait_for_selector("dialog[open]")
    anywhere.page.keyboard.press("ArrowRight")
    assert anywhere.page.locator("dialog[open] header").inner_text().count("2 of") == 1
    anywhere.page.keyboard.press("Escape")
    anywhere.wait("() => document.activeElement.matches('.error-images .tile')")


def test_names_of_a_stranger_stay_names(chromium: Any, error_study: Path, tmp_path: Path) -> None:
    shutil.copytree(error_study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "errors.json"
    document = json.loads(path.read_text())
    for one in document["images"]:
        one["number"] += 1000  # none that another test has added
        one["name"] = "<img src=x onerror=alert(1)>/a'$(touch stolen)\\\"b.png"
    path.write_text(json.dumps(document))
    reader = Reader(chromium, write_report(tmp_path, tmp_path / "report.html").as_uri())
    reader.go("#/errors", "of 60 images are wrong")
    reader.page.locator(".error-images .tile").first.click()
    command = reader.page.locator("dialog[open] [data-scanned] code").inner_text()
    assert shlex.split(command) == ["innersight", "explain", "toon", document["images"][0]["name"]]
    reader.page.keyboard.press("Escape")
    reader.close()


def test_images_of_no_known_class_have_a_selection_of_their_own(
    chromium: Any, error_study: Path, tmp_path: Path
) -> None:
    shutil.copytree(error_study, tmp_path / "s")
    path = tmp_path / "s" / "web" / "documents" / "errors.json"
    document = json.loads(path.read_text())
    chosen = next(image for image in document["images"] if image["best"][0][0] == 0)
    chosen["class"] = -1
    document["summary"]["labelled"] -= 1
    path.write_text(json.dumps(document))
    reader = Reader(chromium, write_report(tmp_path / "s", tmp_path / "report.html").as_uri())
    reader.go("#/c/0", CLASSES[0])
    group = reader.page.locator(".group", has_text="Of no known class")
    group.get_by_role("link", name="All of these").click()
    reader.wait("() => document.querySelector('#selection h2')?.textContent.includes('of no known class')")
    assert reader.page.locator("#selection .error-images li").count() == 1
    assert reader.page.get_by_label("Right or wrong").input_value() == "unknown"
    reader.close()
