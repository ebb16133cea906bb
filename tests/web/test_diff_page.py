"""#/diff: a network beside others, in both hosts, by keyboard, on narrow windows, and what axe says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from networks import image, tiny
from serving import hosted
from test_accessible import PLACES, WINDOWS, axe, serious  # noqa: F401

from innersight.matching import match
from innersight.scan import scan
from innersight.study import Plan, Study, keep_matching, study

pytestmark = pytest.mark.browser
PLAN = Plan(layers=("relu1", "relu2"), units=2, steps=2, seeds=1, methods=("gradcam",), concepts=0, trust=0, size=24)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study beside two epochs; the network itself is the second one."""
    folder, own = tmp_path_factory.mktemp("diff") / "s", tiny("in-place")
    others = [replace(tiny("in-place", seed=seed), source=f"run:r?epoch={at}") for seed, at in ((3, 0), (0, 5))]
    images = folder.with_name("images")
    images.mkdir()
    for seed in range(6):
        image(seed).display(own.input).save(images / f"{seed}.png")
    scan(own, images, ["relu1"], out=folder)
    study(own, [image(seed) for seed in range(4)], folder, plan=PLAN, compare=others).render()
    return folder


@pytest.fixture(params=["report", "app"])
def address(request: pytest.FixtureRequest, compared: Path) -> Iterator[str]:
    with hosted(compared, request.param) as found:
        yield found


@pytest.mark.parametrize("width", [1280, 390])
def test_a_slider_drives_predictions_maps_and_patterns(chromium: Any, address: str, width: int) -> None:
    reader = Reader(chromium, address, viewport={"width": width, "height": 900})
    reader.go("#/diff", "beside 2 networks")
    main = reader.page.locator("main")
    slider = reader.page.get_by_label("Epoch beside this network")
    assert slider.get_attribute("aria-valuetext") == "epoch 0"
    first = main.inner_text()
    assert "epoch 0 predicts another class for" in first
    # Of each image two heatmaps, of each unit two patterns and two maps.
    assert main.locator(".diff-pairs figure").count() == 4 + 4
    assert main.locator(".diff-pair > div > ins-tile").count() == 2 * 4 + 4 * 4
    assert "among the same 6 scanned images" in first
    examples = main.locator(".diff-examples ins-tile").count()
    assert 0 < examples <= 2 * 4 * 3
    assert reader.show("main .diff-images") == [4, 4]
    assert reader.show("main .diff-pairs")[0] > 0
    slider.focus()
    reader.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epoch 5"
    second = main.inner_text()
    assert "epoch 5 predicts another class for 0 of 4 images" in second
    assert "No prediction differs." in second
    assert main.locator(".diff-images .changed").count() == 0
    assert set(main.locator(".diff-pairs .badge").all_inner_texts()) <= {"same", "silent"}
    # The place is in the address, and an address leads there.
    assert reader.page.evaluate("location.hash") == "#/diff?with=1"
    assert reader.overflow() <= 0
    reader.page.reload()
    reader.ready()
    assert slider.get_attribute("aria-valuetext") == "epoch 5"
    reader.close()


def test_patterns_are_spoken_of_where_they_were_drawn(chromium: Any, compared: Path, tmp_path: Path) -> None:
    images = [image(seed) for seed in range(4)]
    keep_matching(match(tiny("in-place", seed=3), tiny("in-place"), images), images, tmp_path)
    for study_, drawn in ((tmp_path, False), (compared, True)):
        reader = Reader(chromium, Study.open(study_).report(tmp_path / "report.html").as_uri())
        reader.go("#/diff", "beside")
        said = reader.page.locator("main").inner_text()
        assert "its partner in the other one, with the" in said
        assert ("with the pattern of each and its activation map over the image" in said) == drawn
        assert ("with the activation map of each over the image" in said) != drawn
        reader.close()


def test_the_navigation_and_the_search_lead_there(chromium: Any, address: str) -> None:
    reader = Reader(chromium, address, viewport={"width": 1600, "height": 900})
    reader.page.locator("#sections").get_by_role("link", name="Differences").click()
    reader.wait("document.querySelector('main h1')?.textContent.includes('beside 2 networks')")
    reader.page.locator("#search").click()
    reader.page.get_by_role("combobox").fill("checkpoints")
    assert "Differences between networks" in " ".join(reader.page.locator("#found").inner_text().split())
    reader.page.keyboard.press("Escape")
    reader.go("#/", "What tiny")
    assert "predicts another class for" in reader.page.locator("#diff").inner_text()
    reader.close()


def test_a_study_without_it_says_how_it_is_made(reader: Reader) -> None:
    assert reader.page.locator("#sections").get_by_role("link", name="Differences").count() == 0
    assert reader.page.locator("#diff").count() == 0
    reader.go("#/diff", "This network beside another")
    assert "innersight study MODEL IMAGES --out STUDY --compare OTHER" in reader.page.locator("main").inner_text()


@pytest.mark.parametrize(("host", "window"), PLACES)
def test_axe_finds_nothing_serious_there(chromium: Any, compared: Path, axe: str, host: str, window: str) -> None:  # noqa: F811
    with hosted(compared, host) as address:
        reader = Reader(chromium, f"{address}#/diff", **WINDOWS[window])
        assert serious(reader, axe) == []
        reader.close()
