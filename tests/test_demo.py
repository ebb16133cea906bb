"""The demo's images are enough to decide about the heatmap methods."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as PILImage

from innersight import demo, toons
from innersight.heatmaps.cost import light
from innersight.sources import load
from innersight.study.panels.trust import LIGHTEST
from innersight.trust import trust


def test_the_demo_decides_which_heatmaps_can_be_trusted(tmp_path: Path) -> None:
    for name in toons.CLASSES:
        (tmp_path / name).mkdir()
        for seed in demo.SCANNED:
            PILImage.fromarray(toons.draw(name, seed).pixels).save(tmp_path / name / f"{name}-{seed}.png")
    model = load("toon:robust")
    tested = light(model, demo.PLAN.settled(model).methods, LIGHTEST)
    found = trust(model, tmp_path, tested, max_images=demo.PLAN.trust)
    standings = [found.standing(method) for method in tested]
    assert "believed" in standings
    assert standings.count("undecided") <= len(standings) / 2
