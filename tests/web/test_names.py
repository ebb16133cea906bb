"""Headings break between words, and names that differ at their ends are told apart where there is no room for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import web_fixture
from browser import Reader

from innersight.web.report import write_report

pytestmark = pytest.mark.browser
LAYERS = ("batch_normalization", "batch_normalization_1", "conv2d_transpose_batch_normalization_2", "dense_features_3")
IMAGE = "marge_simpson-0001-a-long-name-of-a-photograph.png"
BROKEN = """() => {
  const found = [];
  for (const one of document.querySelectorAll("main :is(h1, h2, h3, h4, figcaption strong)")) {
    const walker = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (const match of node.textContent.matchAll(/[\\p{L}\\p{N}]+/gu)) {
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) found.push(match[0]);
      }
    }
  }
  return found;
}"""
# Names whose end is not in view where they stand.
ENDLESS = """() => [...document.querySelectorAll("main :is(.clip, .bar-label, .stop-name)")]
  .filter((one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"""
ENDS = """() => [...document.querySelectorAll("main .both-ends > :last-child")].filter((one) => one.clientWidth)
  .filter((one) => one.getBoundingClientRect().right
    > one.closest(".clip, .bar-label, .stop-name").getBoundingClientRect().right + 1)
  .map((one) => one.parentElement.textContent)"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        shapes = [(count, grid) for _, count, grid in web_fixture.LAYERS]
        names = [*LAYERS, web_fixture.LAYERS[-1][0]]
        patch.setattr(web_fixture, "LAYERS", tuple((name, *shape) for name, shape in zip(names, shapes, strict=True)))
        folder = web_fixture.write_study(tmp_path_factory.mktemp("named"))
    about = folder / "web" / "documents" / "study.json"
    study = json.loads(about.read_text())
    study["images"][0]["name"] = IMAGE
    study["model"]["labels"][7] = study["images"][1]["prediction"][0]["label"] = "marge_simpson_of_springfield"
    about.write_text(json.dumps(study))
    return write_report(folder, folder / "report.html")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_word_is_broken_and_every_end_is_seen(chromium: Any, named: Path, width: int) -> None:
    reader = Reader(chromium, named.as_uri(), viewport={"width": width, "height": 900})
    pages = {
        "#/": "Eight", f"#/l/{LAYERS[2]}": "conv2d", f"#/l/{LAYERS[1]}?lens=compare": "batch", "#/i/p0": "marge",
        f"#/l/{LAYERS[2]}/u/1": "Unit 1", "#/c/7": "marge", f"#/x?units={LAYERS[0]}:7,{LAYERS[1]}:3&imgs=p0": "Units",
    }  # fmt: skip
    for address, expected in pages.items():
        reader.go(address, expected)
        reader.page.wait_for_timeout(100)
        assert reader.page.evaluate(BROKEN) == [], address
        assert reader.page.evaluate(ENDLESS) == [], address
        assert reader.page.evaluate(ENDS) == [], address
        assert reader.overflow() <= 0, address
    reader.close()


def test_the_names_of_layers_differ_on_the_overview(chromium: Any, named: Path) -> None:
    reader = Reader(chromium, named.as_uri(), viewport={"width": 390, "height": 844})
    ends = reader.page.locator(".stop-name .both-ends > :last-child").all_inner_texts()
    assert len(ends) >= 3
    assert len(set(ends)) == len(ends)
    reader.close()


def test_below_patterns_stand_ratios_only(chromium: Any, tmp_path: Path, study: Path) -> None:
    import shutil

    shutil.copytree(study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "layer" / "stages.1.json"
    layer = json.loads(path.read_text())
    scores = layer["patterns"]["score"]
    scores[7] = {**scores[7], "ratio": None, "natural": 0.0, "activation": 11.7, "flags": []}
    path.write_text(json.dumps(layer))
    report = write_report(tmp_path, tmp_path / "report.html")
    reader = Reader(chromium, f"{report.as_uri()}#/l/stages.1?lens=patterns&sort=score")
    notes = reader.page.locator("main .tile .note:not(.warn)").all_inner_texts()
    assert notes[-1] == "not in images"
    assert all(note.startswith("×") for note in notes[:-1])
    ratios = [float(note[2:]) for note in notes[:-1]]
    assert ratios == sorted(ratios, reverse=True)
    reader.close()
