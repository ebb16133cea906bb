"""The page of findings in a browser: with findings, where nothing was confirmed, and where nothing was audited."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage

from innersight.audit import Audit, Checked, Effect, Finding, Proof
from innersight.audit.keep import StudyKeep
from innersight.study import Plan, Study, study

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from browser import Reader, launched

pytestmark = pytest.mark.browser
CHECKED = (
    Checked("shortcut", "Shortcuts", True, "two images", "What all classes share.", 10),
    Checked("leak", "Leaks", False, "needs --train", ""),
)


def findings(file: Path) -> tuple[Finding, ...]:
    pixels = torch.full((2, 24, 24, 3), 200, dtype=torch.uint8)
    pixels[:, :6, :12] = torch.tensor([250, 20, 20], dtype=torch.uint8)
    proof = Proof(pixels, ((0.0, 0.0, 0.5, 0.25), None), ("pasted", "as it was"))
    effect = Effect(0.71, (0.62, 0.79), 0.04, 0.0002, "share of other images")
    return (
        Finding("shortcut", "ash", "relu1:2 sees the corner.", True, effect, (0.0, 0.0, 0.5, 0.25), "same pixels",
                (str(file), "elsewhere/7.png"), 40, "Crop it away.", proof),
        Finding("reliance", "birch", "birch depends on bark.", True, Effect(-2.5, (-3.0, 0.5), 0.25, 0.04, "logits")),
    )  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of reports."""
    root, model = tmp_path_factory.mktemp("audited"), tiny("in-place")
    file = root / "0.png"
    PILImage.fromarray(np.asarray(image(1).pil)).save(file)
    plan = Plan(layers=("relu1",), units=0, methods=("gradcam",))
    whole = Audit(model, findings(file), CHECKED, 480, 7200, "quick", ("a.png: no image",), ("labels are folders",))
    found = {}
    for name, audit in (("faults", whole), ("clean", replace(whole, findings=())), ("none", None)):
        made = study(model, [file, image(2)], root / name, plan=plan)
        if audit is not None:
            StudyKeep.open(root / name, model).finish(audit)
        found[name] = Study.open(made.folder).report(root / f"{name}.html").as_uri()
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    yield from launched()


def sections(reader: Reader) -> list[str]:
    found: list[str] = reader.page.evaluate("[...document.querySelectorAll('section.section')].map(({ id }) => id)")
    return found


def test_findings_are_first_and_lead_to_what_they_name(chromium: Any, reports: dict[str, str]) -> None:
    reader = Reader(chromium, reports["faults"])
    page = reader.page
    assert sections(reader)[:2] == ["findings", "model"]
    assert page.locator("#findings h2").inner_text() == "1 fault confirmed"
    # The fault alone is shown here, the rest on the page of its own.
    assert page.locator("#findings .finding").count() == 1
    page.get_by_role("link", name="Show all 2 findings").click()
    page.locator("#finding-2").wait_for()
    assert page.locator("h1").inner_text() == "1 fault confirmed"
    card = page.locator("#finding-1")
    assert card.locator(".badge").inner_text() == "confirmed"
    assert page.locator("#finding-2 .badge").inner_text() == "confirmed, no fault"
    assert card.locator(".effect-value").all_inner_texts() == ["71%", "4%"]
    assert "95% interval 62% to 79%; p < 0.001" in card.locator("figcaption").inner_text()
    assert card.get_by_role("link", name="ash").get_attribute("href") == "#/c/0"
    assert card.get_by_role("link", name="relu1:2").get_attribute("href") == "#/l/relu1/u/2"
    links = card.locator(".finding-images a")
    assert links.count() == 1
    assert "40 images" in card.locator(".finding-images").inner_text()
    assert "38 more" in card.locator(".finding-images").inner_text()
    links.first.click()
    page.locator(".image-page").wait_for()
    assert page.locator(".statements a").first.inner_text() == "relu1:2 sees the corner."
    page.locator(".statements a").first.click()
    page.locator("#finding-1").wait_for()
    assert reader.complaints == []
    reader.close()


def test_what_is_drawn_is_where_it_should_be(chromium: Any, reports: dict[str, str]) -> None:
    reader = Reader(chromium, reports["faults"])
    reader.go("#/findings", "1 fault confirmed")
    reader.show(".montage")
    shares = """(track) => [...track.children].map((part) => {
      const [own, all] = [part.getBoundingClientRect(), track.getBoundingClientRect()];
      return [(own.left - all.left) / all.width, (own.right - all.left) / all.width];
    })"""
    tracks = reader.page.locator(".effect-track")
    bars = [value for index in range(4) for value in tracks.nth(index).evaluate(shares)]
    # A share from 0 to 1; logits from -3 to the highest, 0.5, with zero in between.
    assert bars == [
        pytest.approx(pair, abs=0.01)
        for pair in ([0, 0.71], [0.62, 0.79], [0, 0.04], [0.5 / 3.5, 3 / 3.5], [0, 1], [3 / 3.5, 3.25 / 3.5])
    ]
    box = reader.page.locator("#finding-1 .montage li").first.evaluate(
        """(item) => {
          const [own, all] = [".finding-box", "ins-tile"].map((part) => item.querySelector(part))
            .map((part) => part.getBoundingClientRect());
          return [own.left - all.left, own.top - all.top, own.width / all.width, own.height / all.height];
        }"""
    )
    assert box == pytest.approx([0, 0, 0.5, 0.25], abs=0.02)
    assert reader.page.locator("#finding-1 .finding-box").count() == 1
    reader.close()


def test_a_clean_network_says_what_was_checked(chromium: Any, reports: dict[str, str]) -> None:
    reader = Reader(chromium, reports["clean"])
    text = reader.page.locator("#findings").inner_text()
    assert sections(reader)[0] == "findings"
    assert "Nothing confirmed: what was checked, and what this could have missed" in text
    for part in ("two images", "Could have missed: What all classes share.", "Needs --train", "480 images"):
        assert part.lower() in text.lower()
    reader.go("#/findings", "Nothing confirmed")
    assert reader.page.locator(".checked .badge").all_inner_texts() == ["checked", "not checked"]
    assert reader.page.locator(".finding").count() == 0
    reader.close()


def test_without_an_audit_the_page_says_how_to_make_one(chromium: Any, reports: dict[str, str]) -> None:
    reader = Reader(chromium, reports["none"])
    assert "findings" not in sections(reader)
    assert reader.page.locator(".journey").count() == 1
    reader.page.locator("#sections").get_by_role("link", name="Findings").click()
    reader.page.locator(".page .empty").wait_for()
    assert "innersight audit MODEL FOLDER --out STUDY" in reader.page.locator(".empty").inner_text()
    assert reader.complaints == []
    reader.close()


@pytest.mark.parametrize("width", [390, 820, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(chromium: Any, reports: dict[str, str], width: int, scheme: str) -> None:
    reader = Reader(chromium, reports["faults"], viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert reader.overflow() <= 0
    reader.go("#/findings", "1 fault confirmed")
    assert reader.overflow() <= 0
    reader.close()
