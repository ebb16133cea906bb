"""The demo's images are enough to decide about the heatmap methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage

from innersight import demo, toons
from innersight.activations import activations
from innersight.heatmaps.cost import light
from innersight.sources import load
from innersight.storage.store import Store
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


def test_the_search_of_the_demo_finds_units_by_the_parts_they_respond_to(tmp_path: Path) -> None:
    model = load("toon:robust")
    demo.label_units(model, tmp_path)
    items = [item for item in Store.open(tmp_path).items() if item.key.startswith("labels/")]
    rows = [row for item in items for row in item.document["rows"]]
    assert [item.document["images"] for item in items] == [110, 110]
    assert {"hair", "clothes", "eyes"} <= {row["label"] for row in rows} <= set(toons.PARTS)
    # They are those of the parts, not of the whole drawing: a unit of the hair responds in it, and beside it little.
    best = max((row for row in rows if row["label"] == "hair"), key=lambda row: row["score"])
    item = next(item for item in items if best in item.document["rows"])
    layer = item.key.split("/")[1]
    drawn = toons.Drawn(per_class=4, seed=demo.SCANNED.start)
    maps = activations(model, [one["image"] for one in drawn], [layer]).values[layer][:, best["unit"]]
    hair = torch.from_numpy(np.stack([one["masks"]["hair"] for one in drawn])).float()[:, None]
    share = torch.nn.functional.interpolate(hair, maps.shape[1:], mode="area")[:, 0]
    inside, outside = (float((maps * part).sum() / part.sum()) for part in (share, 1 - share))
    assert inside > 2 * outside
