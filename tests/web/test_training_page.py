"""The training page: heatmaps of fixed images by epoch, and where the numbers of a log come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import Reader

from innersight.web.report import write_report

pytestmark = pytest.mark.browser
PIXELS = (
    """() => [...document.querySelectorAll("main .heatmaps ins-tile canvas")].map((canvas) => canvas.toDataURL())"""
)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_slider_drives_the_heatmaps_of_the_training(chromium: Any, host: str, width: int) -> None:
    reader = Reader(chromium, host, viewport={"width": width, "height": 844})
    reader.go("#/train", "was trained")
    slider = reader.page.get_by_label("Epoch of the heatmaps")
    figures = reader.page.locator("main .heatmaps figure")
    assert figures.count() == 2
    assert slider.get_attribute("aria-valuetext") == "epoch 4"
    assert reader.show("main .heatmaps") == [2, 2]
    last = reader.page.evaluate(PIXELS)
    assert "ambra 90.0%" in figures.first.inner_text()
    slider.focus()
    for _ in range(4):
        reader.page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "epoch 0"
    assert "ambra 10.0%, predicted" in figures.first.inner_text()
    assert "after epoch 0" in str(figures.first.locator("ins-tile").get_attribute("aria-label"))
    reader.wait(f"() => JSON.stringify(({PIXELS})()) !== {json.dumps(json.dumps(last, separators=(',', ':')))}")
    assert reader.overflow() <= 0
    reader.close()


def test_the_page_says_which_log_its_numbers_are_of(chromium: Any, study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "web", tmp_path / "web")
    path = tmp_path / "web" / "documents" / "training.json"
    document = json.loads(path.read_text())
    steps = list(range(20))
    document |= {
        "axis": "epoch", "layers": {}, "images": None, "recipe": None, "metrics": None,
        "scalars": {
            "train/loss": {"step": steps, "value": [2.0 - n / 20 if n != 3 else None for n in steps]},
            "val/loss": {"step": steps, "value": [1.0] * 20},
        },
        "source": {"title": "Keras CSVLogger", "logs": ["<b>h.csv"], "notes": ["Of train/loss 1 is no number."]},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    reader = Reader(chromium, f"{write_report(tmp_path, tmp_path / 'report.html').as_uri()}#/train")
    said = reader.page.locator("main").inner_text()
    assert "read from a log (Keras CSVLogger: <b>h.csv). The program that trained the network wrote them" in said
    assert "Of train/loss 1 is no number." in said
    assert "The log has no histograms" in said
    # Nobody knows why this program's loss in training is the higher one.
    assert "may be the lower of the two" not in said
    assert reader.page.get_by_label("Training epoch").get_attribute("aria-valuetext") == "epoch 19"
    assert "epoch 19" in reader.page.locator(".chart").first.locator("svg .tick").all_text_contents()
    assert reader.page.locator(".chart").count() == 1
    reader.close()
