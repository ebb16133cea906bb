"""Copies of training images are found however they are stored; images that only look alike are not called copies."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import innersight as ins
from innersight.audit.duplicates import joined, matches, read_thumbnails
from innersight.model import Model
from innersight.toons import draw

NAMES = ("ambra", "bosk", "corvo", "dulci")


def drawn(name: str, seed: int) -> PILImage.Image:
    return PILImage.fromarray(draw(name, seed, size=96).pixels)


def stored(image: PILImage.Image, quality: int) -> PILImage.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return PILImage.open(data).convert("RGB")


def cropped(image: PILImage.Image, rng: np.random.Generator) -> PILImage.Image:
    x, y = rng.integers(0, 10, 2).tolist()
    return image.crop((x, y, x + 86, y + 86))


WAYS = {
    "same pixels": lambda image, rng: image,
    "stored anew": lambda image, rng: stored(image.resize((72, 72), PILImage.Resampling.LANCZOS), 60),
    "mirrored": lambda image, rng: stored(image.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT), 85),
    "cropped": cropped,
}


@pytest.fixture(scope="module")
def model() -> Model:
    return ins.load("toon")


@pytest.mark.parametrize("kind", WAYS)
def test_copies_are_found_and_how_they_were_made(kind: str, model: Model) -> None:
    rng = np.random.default_rng(0)
    known = [drawn(name, seed) for name in NAMES for seed in range(10)]
    own = [np.asarray(WAYS[kind](image, rng)) for image in known]
    found = matches(joined(read_thumbnails(own, model)), joined(read_thumbnails(known, model)))
    right = [match for match in found if match.first == match.second and match.copy]
    assert len(right) >= (32 if kind == "cropped" else 40)
    assert sum(match.kind == kind for match in right) >= 0.9 * len(right)
    assert all(match.first == match.second for match in found if match.copy)


def test_other_images_of_a_character_are_no_copies(model: Model) -> None:
    first, second = ([drawn(name, seed) for name in NAMES for seed in range(start, start + 15)] for start in (0, 50))
    assert not matches(joined(read_thumbnails(first, model)), joined(read_thumbnails(second, model)))


def test_a_frame_in_which_a_part_moved_is_similar_and_no_copy(model: Model) -> None:
    frames = []
    for seed in range(4):
        frame = np.array(drawn("ambra", seed))
        frame[40:60, 36:60] = frame[40:60, 36:60][::-1, :, ::-1]
        frame[44:52, 40:52] = [250, 250, 20]
        frames.append(frame)
    found = matches(
        joined(read_thumbnails(frames, model)), joined(read_thumbnails([drawn("ambra", s) for s in range(4)], model))
    )
    assert found
    assert all(match.kind == "similar" and match.difference > 0.1 for match in found)


def folder(path: Path, images: dict[str, list[PILImage.Image]]) -> Path:
    for label, own in images.items():
        (path / label).mkdir(parents=True)
        for i, image in enumerate(own):
            image.save(path / label / f"{i}.png")
    return path


def test_an_audit_states_leaks_and_images_in_two_classes(tmp_path: Path, model: Model) -> None:
    known = {name: [drawn(name, seed) for seed in range(6)] for name in NAMES}
    own = {name: [drawn(name, seed) for seed in range(100, 106)] for name in NAMES}
    own["ambra"][0] = known["ambra"][3]
    own["bosk"][1] = known["bosk"][2].transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)
    own["corvo"][5] = stored(own["dulci"][4], 80)
    train, test = folder(tmp_path / "train", known), folder(tmp_path / "test", own)
    found = ins.audit(model, test, train=train, checks=["leak"], out=tmp_path / "study")
    leaks, two = found.findings
    assert leaks.confirmed
    assert leaks.effect is not None
    assert leaks.effect.value == 2 / 24
    assert sorted(leaks.images) == [str(test / "ambra/0.png"), str(test / "bosk/1.png")]
    assert "1 with the same pixels, 1 mirrored" in leaks.sentence
    assert leaks.proof is not None
    assert any(str(train / "bosk/2.png") in text for text in leaks.proof.captions)
    assert leaks.proof.pixels.shape == (2, 96, 192, 3)
    assert set(two.images) == {str(test / "corvo/5.png"), str(test / "dulci/4.png")}
    assert "1 image lies in two classes (1 as corvo and dulci)" in two.sentence
    again = ins.audit(model, test, train=train, checks=["leak"], out=tmp_path / "study")
    assert again.to_json() == found.to_json()
    (train / "bosk" / "2.png").unlink()
    changed = ins.audit(model, test, train=train, checks=["leak"], out=tmp_path / "study")
    assert [one.images_total for one in changed.findings if "training" in one.sentence] == [1]


def test_clean_images_and_those_without_anything_to_compare(tmp_path: Path, model: Model) -> None:
    own = {name: [drawn(name, seed) for seed in range(4)] for name in NAMES}
    test = folder(tmp_path / "test", own)
    found = ins.audit(model, test, train=[draw("elke", s).pixels for s in range(3)], checks=["leak"])
    assert not found.findings
    assert found.clean
    alone = ins.audit(model, test / "ambra", checks=["leak"])
    [reason] = [one for one in alone.checked if one.check == "leak"]
    assert not reason.done
    assert "--train" in reason.sentence


def test_plain_images_are_like_nothing_but_equal_ones(model: Model) -> None:
    plain = [torch.full((3, 40, 40), value, dtype=torch.uint8) for value in (0, 0, 200)]
    first, second = joined(read_thumbnails(plain[:1], model)), joined(read_thumbnails(plain[1:], model))
    assert [(match.second, match.kind) for match in matches(first, second)] == [(0, "same pixels")]
