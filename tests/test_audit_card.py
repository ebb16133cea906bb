"""The recall card's own parts: plants lie where the truth says, and findings are judged by what they say."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.audit_card import labels as wrong_labels
from benchmarks.audit_card import leaks, planters, preprocessing, report, shortcuts, slices
from benchmarks.audit_card.cases import Case, plant_in
from benchmarks.audit_card.outcome import Outcome, path_of
from benchmarks.audit_card.pool import SIDE, Pixels

from innersight import toons

LOCAL = {"patch", "stamp", "position", "bystander"}


@pytest.fixture(scope="module")
def images() -> Pixels:
    return np.stack([toons.draw("ambra", seed, size=SIDE, colours="shuffled").pixels for seed in range(6)])


@pytest.mark.parametrize("kind", planters.PLANTERS)
@pytest.mark.parametrize("seed", range(4))
def test_a_plant_changes_its_box_and_nothing_else(kind: str, seed: int, images: Pixels) -> None:
    plant = planters.PLANTERS[kind](np.random.default_rng(seed), ["corvo", "jory"])
    boxes = set()
    for pixels in images:
        before = pixels.copy()
        after, box = plant(pixels, np.random.default_rng((seed, int(pixels.sum()))))
        assert np.array_equal(before, pixels)
        assert after.shape == pixels.shape
        assert after.dtype == np.uint8
        changed = (after != before).any(2)
        assert (box is None) == (kind not in LOCAL)
        assert changed.any()
        if box is not None:
            x0, y0, x1, y1 = (round(edge * SIDE) for edge in box)
            inside = np.zeros_like(changed)
            inside[y0:y1, x0:x1] = True
            assert 0 <= x0 < x1 <= SIDE
            assert 0 <= y0 < y1 <= SIDE
            assert not changed[~inside].any()
            boxes.add(box)
    if kind in LOCAL:
        assert (len(boxes) == 1) == (kind in ("stamp", "position"))


def test_a_share_of_the_images_is_planted(images: Pixels) -> None:
    many = np.concatenate([images] * 5)
    changed = many.copy()
    plant = planters.PLANTERS["border"](np.random.default_rng(0), [])
    found = plant_in(changed, plant, 0.7, np.random.default_rng(0))
    assert len(found) == 21
    assert {i for i in range(30) if not np.array_equal(many[i], changed[i])} == set(found)


def _case(tmp_path: Path, kind: str, box: planters.Box | None) -> Case:
    return Case(kind, 0, 0.9, "ambra", tmp_path, ("ambra", "bosk"), {"ambra/00001.png": box}, 0.9)


def _finding(**changed: Any) -> SimpleNamespace:
    usual = {
        "label": "ambra",
        "reason": "",
        "sentence": "ambra: something",
        "region": None,
        "images": (),
        "proof": None,
    }
    return SimpleNamespace(**{**usual, **changed})


def test_a_shortcut_is_matched_by_class_and_kind_or_region(tmp_path: Path) -> None:
    case = _case(tmp_path, "stamp", (0.5, 0.5, 0.75, 0.75))
    assert shortcuts.matched(_finding(reason="same pixels"), case) == "kind"
    assert shortcuts.matched(_finding(reason="same pixels", label="bosk"), case) == ""
    assert shortcuts.matched(_finding(reason="in some images alone"), case) == ""
    # Half of the box: an IoU of 0.5; a quarter of it: 0.25.
    assert shortcuts.matched(_finding(region=(0.5, 0.5, 0.75, 0.625)), case) == "region"
    assert shortcuts.matched(_finding(region=(0.5, 0.5, 0.625, 0.625)), case) == ""
    both = _finding(region=(0.5, 0.5, 0.75, 0.75), reason="same pixels", images=("/there/ambra/00001.png",))
    assert shortcuts.matched(both, case) == "region and kind"
    blurred = _case(tmp_path, "blur", None)
    assert shortcuts.matched(_finding(sentence="ambra: blurred images (by 1.0 px)"), blurred) == "kind"
    assert shortcuts.matched(_finding(sentence="ambra: a colour cast (red +9%)"), blurred) == ""


def test_regions_of_the_images_that_a_finding_shows_count(tmp_path: Path, images: Pixels) -> None:
    from PIL import Image as PILImage

    (tmp_path / "images" / "ambra").mkdir(parents=True)
    PILImage.fromarray(images[0]).save(tmp_path / "images" / "ambra" / "00001.png")
    case = _case(tmp_path, "patch", (0.0, 0.0, 0.25, 0.25))
    pixels = torch.from_numpy(images[:2])
    for regions, overlap in (
        (((0.0, 0.0, 0.25, 0.25), None), [1.0]),
        (((0.5, 0.5, 0.75, 0.75), None), [0.0]),
        # The second image has no plant: what is pointed at there is something else.
        (((0.0, 0.0, 0.25, 0.25), (0.0, 0.0, 0.25, 0.25)), [1.0, 0.0]),
    ):
        assert shortcuts.overlaps(_finding(proof=SimpleNamespace(pixels=pixels, regions=regions)), case) == overlap


@pytest.mark.parametrize("number", range(len(preprocessing.TRAINED)))
@pytest.mark.parametrize("mistake", preprocessing.MISTAKES)
def test_a_mistake_is_cured_by_what_restores_the_contract(mistake: str, number: int) -> None:
    right = preprocessing._spec(**preprocessing.TRAINED[number])
    wrong = preprocessing.MISTAKES[mistake](right)
    reversed_ = mistake == "BGR"
    assert (wrong == right) == reversed_
    mean, std = (",".join(f"{value:.4g}" for value in row) for row in (right.mean, right.std))
    stated = f"mean={mean}&std={std}&size={right.height}&fit=squash"
    flip = "reverse the input channels of net.stem.0.weight once and l" * reversed_ or "L"
    assert preprocessing.cured(f"{flip}oad it as MODEL?{stated}", wrong, right, reversed_)
    assert not preprocessing.cured(f"{flip}oad it as MODEL?{stated}", wrong, right, not reversed_)
    if not reversed_:
        assert not preprocessing.cured("Load it as MODEL?mean=0.1&std=0.1", wrong, right, False)
        assert not preprocessing.cured("Look at it", wrong, right, False)


def test_wrong_labels_are_all_wrong_and_as_many_as_said() -> None:
    classes, count = 8, 160
    images = np.arange(classes * count).reshape(classes, count)
    changed, moved = wrong_labels._mislabelled(images, np.random.default_rng(0))
    assert len(set(moved)) == 64
    assert sorted(changed.ravel()) == sorted(images.ravel())
    for k in range(classes):
        for i in range(count):
            assert (changed[k, i] // count != k) == ((k, i) in moved)


@pytest.mark.parametrize("way", slices.WAYS)
def test_a_weak_slice_is_an_image_drawn_in_another_way(way: str, images: Pixels) -> None:
    changed = slices.WAYS[way](images[0], np.random.default_rng(0))
    assert changed.shape == images[0].shape
    assert changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - images[0]).mean() > 10


def test_copies_are_what_they_are_called(images: Pixels) -> None:
    import io

    from PIL import Image as PILImage

    image, dice = PILImage.fromarray(images[0]), np.random.default_rng(0)
    opened = {
        name: PILImage.open(io.BytesIO(make(image, dice)))
        for name, (_, make) in leaks.KINDS.items()
        if make is not None
    }
    assert opened["re-encoded"].format == "JPEG"
    assert np.array_equal(np.asarray(opened["mirrored"]), images[0][:, ::-1])
    cropped = np.asarray(opened["cropped by 10%"])
    assert cropped.shape == (58, 58, 3)
    places = [(y, x) for y in range(7) for x in range(7) if np.array_equal(images[0][y : y + 58, x : x + 58], cropped)]
    assert len(places) == 1


def test_the_card_is_written_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "audit.md"
    page.write_text(f"# Audit\nabove\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "SHEET", tmp_path / "misses.png")
    numbers = {"accuracy": 0.9, "recall": 0.5, "recall_planted": 1.0, "turned": 0.4}
    near = ("reliance: ilko: the cap",)
    missed = Outcome("shortcuts", "tint", 3, "tint in 90% of ilko", False, near=near, numbers=numbers)
    text = report.page({"shortcuts": []}, [missed], 1.0)
    report.publish(text, [missed])
    written = page.read_text()
    assert written.startswith("# Audit\nabove\n")
    assert written.endswith("below\n")
    assert "old" not in written
    assert "tint in 90% of ilko" in written
    assert "reliance: ilko: the cap" in written
    page.write_text("# Audit without a place\n")
    with pytest.raises(SystemExit, match="has no place for the card"):
        report.publish(text, [missed])


def test_paths_are_compared_by_class_and_file() -> None:
    assert path_of("/a/b/ambra/00001.png") == path_of("ambra/00001.png") == "ambra/00001.png"
