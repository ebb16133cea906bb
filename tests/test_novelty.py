"""How far images are from those of a scan: a slow loop; photographs are novel to a network of drawn characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image as PILImage

import innersight as ins
from innersight import toons
from innersight.image import as_image
from innersight.model import Model
from innersight.scan import scan
from innersight.scan.features import Features
from innersight.scan.novelty import LEAST, NEIGHBOURS, novelties, stand
from innersight.study import Plan, study


def features(count: int, units: int = 5, seed: int = 0) -> Features:
    values = torch.randn(count, units, generator=torch.Generator().manual_seed(seed))
    return Features("x", torch.arange(count) * 3, values)


def test_it_is_the_share_of_a_slow_loop() -> None:
    known, own = features(40), torch.randn(6, 5, generator=torch.Generator().manual_seed(9)) * 7

    def kth(row: list[float], others: list[list[float]]) -> tuple[float, list[int]]:
        size = sum(value**2 for value in row) ** 0.5
        far = []
        for number, other in enumerate(others):
            length = sum(value**2 for value in other) ** 0.5
            gaps = [a / size - b / length for a, b in zip(row, other, strict=True)]
            far.append((sum(gap**2 for gap in gaps) ** 0.5, number))
        far.sort()
        return far[NEIGHBOURS - 1][0], [number for _, number in far[:NEIGHBOURS]]

    rows = known.values.double().tolist()
    usual = [kth(row, rows[:i] + rows[i + 1 :])[0] for i, row in enumerate(rows)]
    for one, row in zip(stand(known, own), own.double().tolist(), strict=True):
        distance, nearest = kth(row, rows)
        assert one is not None
        assert one.distance == pytest.approx(distance, abs=1e-5)
        assert one.share == pytest.approx(sum(own < distance for own in usual) / 40)
        assert one.nearest == tuple(3 * number for number in nearest)


def test_the_image_itself_is_no_neighbour_and_what_is_no_number_is_left_out() -> None:
    known = features(200)
    inside, broken = stand(known, torch.stack([2 * known.values[7], torch.full((5,), torch.inf)]))
    assert broken is None
    assert inside is not None
    assert 21 not in inside.nearest
    assert not inside.novel


def test_of_images_that_are_all_the_same_nothing_is_said() -> None:
    row, own = torch.rand(1, 5), torch.rand(2, 5)
    same = row.repeat(LEAST, 1)
    for values in (same, torch.zeros(LEAST, 5), torch.cat([torch.rand(NEIGHBOURS - 1, 5), same])):
        assert stand(Features("x", torch.arange(len(values)), values), own) == [None, None]
    # Different ones, each many times, are neighbours.
    several = torch.rand(NEIGHBOURS + 1, 5).repeat(LEAST, 1)
    assert None not in stand(Features("x", torch.arange(len(several)), several), own)


@pytest.fixture(scope="module")
def toon() -> Model:
    return ins.load("toon")


def test_photographs_are_novel_to_the_network_of_drawn_characters_and_fresh_drawings_are_not(toon: Model) -> None:
    drawn = [as_image(toons.draw(name, seed).pixels) for seed in range(50_000, 50_015) for name in toons.CLASSES]
    found = scan(toon, drawn, ["stage4"], examples=1).features
    assert found is not None
    fresh = [as_image(toons.draw(name, seed).pixels) for seed in range(60_000, 60_006) for name in toons.CLASSES]
    photographs = [skimage.data.cat(), skimage.data.coffee(), skimage.data.astronaut(), skimage.data.rocket()]
    usual = novelties(toon, tuple(fresh), found)
    # By definition 1 of 100, give or take.
    assert sum(one is not None and one.novel for one in usual) <= 0.05 * len(fresh)
    unusual = novelties(toon, tuple(as_image(pixels) for pixels in photographs), found)
    assert [one is not None and one.novel for one in unusual] == [True] * 4


def test_a_study_claims_it_where_enough_images_were_scanned_and_nothing_without(toon: Model, tmp_path: Path) -> None:
    plan = Plan(layers=("stage4",), units=0, concepts=0, trust=0, methods=("gradcam",), rivals=False)
    images = [toons.draw(toons.CLASSES[0], 60_000).pixels, skimage.data.cat()]

    def documents(folder: Path) -> tuple[dict[str, object], str]:
        web = study(toon, images, folder, plan=plan).render()
        about = json.loads((web / "documents" / "study.json").read_text())
        file = web / "documents" / "novelty.json"
        why = " ".join(entry["why"] for entry in about["missing"] if entry["what"] == "novelty")
        return (json.loads(file.read_text())["rows"] if file.is_file() else {}), why

    rows, why = documents(tmp_path / "alone")
    assert rows == {}
    assert "nothing is claimed" in why
    for count, folder in ((LEAST // len(toons.CLASSES) - 2, "few"), (LEAST // len(toons.CLASSES) + 2, "many")):
        for name in toons.CLASSES:
            (tmp_path / f"{folder}-images" / name).mkdir(parents=True)
            for seed in range(count):
                drawn = PILImage.fromarray(toons.draw(name, 70_000 + seed).pixels)
                drawn.save(tmp_path / f"{folder}-images" / name / f"{name}-{seed}.png")
        scan(toon, tmp_path / f"{folder}-images", ["stage4"], examples=1, out=tmp_path / folder)
    assert documents(tmp_path / "few")[0] == {}
    rows, _ = documents(tmp_path / "many")
    assert [rows[name]["novel"] for name in ("p0", "p1")] == [False, True]  # type: ignore[index]
    assert all(name.endswith(".png") for row in rows.values() for name in row["nearest"])  # type: ignore[index]
