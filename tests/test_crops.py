"""Crops of images of every size and shape, the smallest and thinnest included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage

import innersight as ins
from innersight.boxes import PixelBox
from innersight.input_spec import InputSpec
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.scan import write_sprites
from innersight.scan.crops import ReopenedImage, cut
from innersight.scan.shards import SMALLEST
from innersight.study import Plan
from innersight.trust import Protocol

SIZES = [(1, 1), (2, 3), (3, 3), (4, 4), (5, 4), (1, 5000), (5000, 1), (6, 3000), (3000, 6)]


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of every size among two plain ones."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i, (width, height) in enumerate(SIZES):
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3)).astype(np.uint8)
        PILImage.fromarray(noise).save(folder / f"{i}-{width}x{height}.png")
    for i in range(2):
        image(i).pil.save(folder / f"plain{i}.png")
    return folder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_crop_of_every_place(size: tuple[int, int], fit: str) -> None:
    spec, (width, height) = InputSpec(24, 24, fit=fit), size  # type: ignore[arg-type]
    pixels = np.arange(height * width, dtype=np.int64).reshape(height, width)
    image = np.stack([pixels % 256, pixels // 256 % 256, pixels // 65536], 2).astype(np.uint8)
    box = ins.Image(PILImage.fromarray(image), "a").box(spec)
    field = ReceptiveField((5, 5), (3, 3), (4, 4), (10.0, 10.0))
    for y in range(6):
        for x in range(6):
            crop = cut(ReopenedImage(torch.zeros(3, 24, 24), image, box), torch.ones(6, 6), (y, x), field, spec)
            rows, columns, _ = crop.pixels.shape
            assert 1 <= rows <= height
            assert 1 <= columns <= width
            assert crop.mask.shape == (rows, columns)
            assert crop.mask.min() > 0.999
            # It is the part of the image that its box names, to a pixel.
            number = int(crop.pixels[0, 0] @ np.array([1, 256, 65536]))
            assert abs(number // width - max(0.0, crop.effective.top)) <= 1
            assert abs(number % width - max(0.0, crop.effective.left)) <= 1


def test_a_box_between_two_pixels_shows_the_one_it_lies_in() -> None:
    image = np.arange(4, dtype=np.uint8)[:, None, None].repeat(1, 1).repeat(3, 2)
    one = ReopenedImage(torch.zeros(3, 24, 24), image, PixelBox(0, 1.6, 1, 2.2))
    crop = cut(
        one, torch.ones(1, 1), (0, 0), ReceptiveField((24, 24), (24, 24), (1, 1), (12.0, 12.0)), InputSpec(24, 24)
    )
    assert crop.pixels.tolist() == [[[1, 1, 1]]]


def test_a_scan_lists_what_is_too_small_and_draws_the_rest(model: Model, folder: Path, tmp_path: Path) -> None:
    result = ins.scan(model, folder, ["relu1", "relu2"], out=tmp_path / "study")
    small = [f"{w}x{h}" for w, h in SIZES if min(w, h) < SMALLEST]
    assert [sentence.split(": ")[1].split()[0] for sentence in result.skipped] == small
    assert all("pixels are too small; each side needs at least 4" in sentence for sentence in result.skipped)
    assert result.images == len(SIZES) + 2 - len(small)
    assert len(write_sprites(result, tmp_path / "study")) == 2
    for unit in range(8):
        assert len(result.crops(f"relu2:{unit}", result.examples(f"relu2:{unit}"))) == len(
            result.examples(f"relu2:{unit}")
        )


def test_a_network_for_tiny_images_scans_them() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    model = ins.load(net.eval(), input=InputSpec(2, 2))
    noise = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3)).astype(np.uint8)
    assert ins.scan(model, noise, ["0"]).images == 5
    assert len(ins.scan(model, [noise[0], noise[1][:1]], ["0"]).skipped) == 1


def test_everything_else_takes_them(model: Model, folder: Path, tmp_path: Path) -> None:
    count = len(SIZES) + 2
    assert ins.predict(model, folder).logits.isfinite().all()
    assert len(ins.explain(model, folder, methods=["gradcam", "saliency", "occlusion"]).entries) == 3 * count
    assert ins.compare(model, folder, "relu2").score.isfinite().all()
    drawn = ins.patterns(model, "relu2:1", steps=1, images=folder, statistics="images")
    assert drawn.examples.isfinite().all()
    assert ins.match(model, model, folder, ["relu2"]).images == count
    assert len(ins.ablate(model, folder, "relu2", to="mean").images) == count
    ins.connections(model, "relu2:1", folder).save(tmp_path / "c.png")
    ins.find(model, (image(9), (0.1, 0.1, 0.6, 0.6)), images=folder).save(tmp_path / "f.png")
    for thin in sorted(folder.iterdir())[:3]:
        ins.find(model, (thin, (0, 0, 0.9, 1)), images=folder)
    assert len(ins.trust(model, folder, ["gradcam"], protocol=Protocol(steps=2)).images) == count
    made = ins.study(model, sorted(folder.iterdir()), tmp_path / "s", plan=Plan(units=1, steps=1, trust=0))
    assert made.report(tmp_path / "r.html").stat().st_size
