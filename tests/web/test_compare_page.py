"""The comparison on the page: which layers come first, and fewer images, chosen in the link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import Reader
from networks import image, tiny
from serving import hosted

from innersight.compare import compare
from innersight.study import Plan, Study, study
from innersight.web.report import write_report

pytestmark = pytest.mark.browser
LAYERS = ("relu1", "conv2", "relu2")
UNITS = "all => all.map((one) => Number(one.textContent.replace('unit ', '')))"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    plan = Plan(layers=LAYERS, units=0, concepts=0, trust=0, methods=("gradcam",), rivals=False)
    study(tiny("in-place"), [image(1), image(2, name="two"), image(3, name="three")], folder, plan=plan)
    return folder


def expected(layer: str, at: tuple[int, ...]) -> list[int]:
    """The order over some images, from what was measured of these."""
    found = compare(tiny("in-place"), [image(1), image(2), image(3)], layer)
    among = [n for n, pair in enumerate(combinations(range(3), 2)) if set(pair) <= set(at)]
    agreement = found.pairs[:, among].mean(1).clamp(0, 1)
    chosen = list(at)
    score = (found.strength[:, chosen].amin(1) * found.sparsity[:, chosen].amin(1) * agreement) ** (1 / 3)
    assert not torch.equal(score, found.score)
    return [unit for unit in score.argsort(descending=True).tolist() if score[unit] > 0]


@pytest.fixture(params=["report", "app"])
def address(request: pytest.FixtureRequest, three: Path) -> Iterator[str]:
    Study.open(three).render()
    with hosted(three, request.param) as found:
        yield found


def test_the_first_layers_stand_beside_a_deep_one_and_others_are_a_click_away(chromium: Any, address: str) -> None:
    reader = Reader(chromium, address)
    names = "#compare .group h3"
    assert reader.page.locator(names).all_inner_texts() == list(LAYERS)
    reader.page.locator("#compare .chips").first.get_by_role("button", name="conv2").click()
    assert reader.page.locator(names).all_inner_texts() == ["relu1", "relu2"]
    assert "layers=relu1,relu2" in reader.page.url
    reader.close()
    again = Reader(chromium, f"{address}#/?layers=relu2")
    assert again.page.locator(names).all_inner_texts() == ["relu2"]
    # One stays.
    again.page.locator("#compare .chips").first.get_by_role("button", name="relu2").click()
    assert again.page.locator(names).all_inner_texts() == ["relu2"]
    again.close()


def test_fewer_images_are_ranked_by_what_was_measured_of_them(chromium: Any, address: str) -> None:
    reader = Reader(chromium, address)
    reader.go("#/l/conv2?lens=compare", "conv2")
    chips = reader.page.get_by_role("group", name="Images compared")
    chips.get_by_role("button", name="two").click()
    reader.wait("location.hash.includes('imgs=p0,p2')")
    assert reader.page.locator(".compare-head a").count() == 2
    assert reader.page.locator(".compare-unit strong").evaluate_all(UNITS) == expected("conv2", (0, 2))
    # Two are the fewest.
    chips.get_by_role("button", name="three").click()
    assert reader.page.locator(".compare-head a").count() == 2
    reader.close()
    again = Reader(chromium, f"{address}#/l/conv2?lens=compare&imgs=p1,p2")
    assert again.page.locator(".compare-unit strong").evaluate_all(UNITS) == expected("conv2", (1, 2))
    again.close()


def test_a_layer_without_such_a_unit_says_so(chromium: Any, three: Path) -> None:
    def silent(text: str) -> str:
        document = json.loads(text)
        for row in document["compare"]["rank"]:
            row["score"] = 0.0
        return json.dumps(document)

    Study.open(three).render()
    file = three / "web" / "documents" / "layer" / "relu1.json"
    before = file.read_text()
    file.write_text(silent(before))
    try:
        reader = Reader(chromium, write_report(three, three / "silent.html").as_uri())
        said = reader.page.locator("#compare .group", has_text="relu1").inner_text()
        assert "No unit responds in all 3 images" in said
        assert "score 0" not in said
        reader.close()
    finally:
        file.write_text(before)
