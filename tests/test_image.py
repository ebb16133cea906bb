"""Images of every kind become upright 8 bits, and maps lie where the network looked."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import image
from PIL import Image as PILImage

from innersight import pixels as module
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, as_image, load_image, stack
from innersight.input_spec import InputSpec
from innersight.inputs import read
from innersight.inputs.files import find_images

SPEC = InputSpec(24, 24)
RED, GREEN, BLUE, GREY = (200, 30, 40), (20, 180, 60), (10, 60, 220), (128, 128, 128)


def quarters(width: int = 12, height: int = 8) -> np.ndarray:
    """An image whose four quarters differ, wider than high."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, GREY
    return pixels


def pixels_of(loaded: Image) -> np.ndarray:
    return np.asarray(loaded.pil)


# Where pixel (row, column) of the file comes from, by the EXIF definition of "0th row" and "0th column".
STORED = {
    1: lambda u: u,
    2: lambda u: u[:, ::-1],
    3: lambda u: u[::-1, ::-1],
    4: lambda u: u[::-1],
    5: lambda u: u.swapaxes(0, 1),
    6: lambda u: u[:, ::-1].swapaxes(0, 1),
    7: lambda u: u[::-1, ::-1].swapaxes(0, 1),
    8: lambda u: u[::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_comes_out_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = quarters(32, 16)
    stored = PILImage.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert (loaded.width, loaded.height) == (32, 16)
    assert np.abs(pixels_of(loaded).astype(int) - upright).max() <= (8 if suffix == "jpg" else 0)


def test_greyscale_stays_grey(tmp_path: Path) -> None:
    values = np.arange(96, dtype=np.uint8).reshape(8, 12)
    PILImage.fromarray(values).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    assert loaded.pil.mode == "L"
    assert np.array_equal(pixels_of(loaded), values)
    assert loaded.notes == ()


def test_one_bit(tmp_path: Path) -> None:
    PILImage.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "a.png")
    assert np.array_equal(pixels_of(load_image(tmp_path / "a.png")), np.eye(8, dtype=np.uint8) * 255)


def test_transparent_parts_are_laid_on_the_background_asked_for(tmp_path: Path) -> None:
    rgba = np.dstack([quarters(), np.full((8, 12), 255, np.uint8)])
    rgba[:4, :6, 3], rgba[:4, 6:, 3] = 0, 51
    PILImage.fromarray(rgba).save(tmp_path / "a.png")
    for background, colour in (("white", (255, 255, 255)), ("#102030", (16, 32, 48))):
        loaded = load_image(tmp_path / "a.png", background=background)
        assert loaded.pil.mode == "RGB"
        assert pixels_of(loaded)[0, 0].tolist() == list(colour)
        mixed = 0.2 * np.array(GREEN) + 0.8 * np.array(colour)
        assert np.abs(pixels_of(loaded)[0, 11] - mixed).max() <= 1
        assert pixels_of(loaded)[7, 0].tolist() == list(BLUE)
        assert loaded.notes == (f"transparent parts laid on {background}",)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    paletted = PILImage.fromarray(quarters()).quantize(4)
    hidden = paletted.getpixel((0, 0))
    paletted.save(tmp_path / "a.png", transparency=hidden)
    paletted.save(tmp_path / "a.gif", transparency=hidden)
    for suffix in ("png", "gif"):
        loaded = load_image(tmp_path / f"a.{suffix}")
        assert pixels_of(loaded)[0, 0].tolist() == [255, 255, 255]
        assert pixels_of(loaded)[7, 0].tolist() == list(BLUE)


def test_palette_without_transparency(tmp_path: Path) -> None:
    PILImage.fromarray(quarters()).quantize(4).save(tmp_path / "a.png")
    assert np.array_equal(pixels_of(load_image(tmp_path / "a.png")), quarters())


def test_grey_with_transparency(tmp_path: Path) -> None:
    PILImage.fromarray(np.dstack([np.zeros((4, 4)), np.eye(4) * 255]).astype(np.uint8), "LA").save(tmp_path / "a.png")
    assert np.array_equal(pixels_of(load_image(tmp_path / "a.png"))[..., 0], 255 - np.eye(4, dtype=np.uint8) * 255)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk(suffix: str, tmp_path: Path) -> None:
    PILImage.fromarray(quarters(32, 16)).convert("CMYK").save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert np.abs(pixels_of(loaded)[4::8, 8::16].astype(int) - quarters(32, 16)[4::8, 8::16]).max() < 12
    assert loaded.notes == ("converted from CMYK",)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_use_the_whole_range(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 257, 32768], [65535, 128, 129]], dtype=np.uint16)
    PILImage.fromarray(values).save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert pixels_of(loaded).tolist() == [[0, 1, 128], [255, 0, 1]]
    assert loaded.notes == ("reduced to 8 bits",)


def test_float_samples(tmp_path: Path) -> None:
    PILImage.fromarray(np.array([[0.0, 0.5], [1.0, 0.25]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert pixels_of(load_image(tmp_path / "a.tif")).tolist() == [[0, 128], [255, 64]]


@pytest.mark.parametrize(("value", "why"), [(np.nan, "NaN or infinite values"), (1.5, r"0 to 1.5 are outside 0..1")])
def test_float_samples_out_of_range_are_refused_by_name(value: float, why: str, tmp_path: Path) -> None:
    PILImage.fromarray(np.array([[0.0, value]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a\.tif: .*{why}"):
        load_image(tmp_path / "a.tif")


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [PILImage.new("RGB", (6, 4), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    loaded = load_image(tmp_path / "a.gif")
    assert pixels_of(loaded)[0, 0].tolist() == list(RED)
    assert "first of 3 frames" in loaded.notes


def test_the_content_counts_and_not_the_extension(tmp_path: Path) -> None:
    PILImage.fromarray(quarters()).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(pixels_of(load_image(tmp_path / "a.jpg")), quarters())


def _bytes(suffix: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    PILImage.fromarray(noise).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"Not an image at all.\n" * 20, "not an image"),
        (_bytes("png")[:900], "cannot be read"),
        (_bytes("jpeg")[:900], "cannot be read"),
        (_bytes("gif")[:300], ""),
        (_bytes("webp")[:300], ""),
        (_bytes("png")[:20], ""),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, ""),
    ],
    ids=["empty", "text", "half png", "half jpeg", "half gif", "half webp", "png head", "png of zeros"],
)
def test_broken_files_are_one_sentence_with_their_name(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.png: .*{why}") as caught:
        load_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="a folder without image files"):
        load_image(tmp_path)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PILImage.fromarray(quarters()).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 95)
    with pytest.raises(ImageError, match=r"a\.png: 12x8 pixels are more than 95"):
        load_image(tmp_path / "a.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 96)
    load_image(tmp_path / "a.png")


def test_the_limit_stated_is_the_limit_there_is(tmp_path: Path) -> None:
    PILImage.new("1", (20_000, 9_100)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match=f"more than {module.MAX_PIXELS:,}"):
        load_image(tmp_path / "bomb.png")
    assert module.MAX_PIXELS < 20_000 * 9_100


def test_arrays_and_pil_images() -> None:
    assert np.array_equal(pixels_of(as_image(quarters())), quarters())
    assert np.array_equal(pixels_of(as_image(PILImage.fromarray(quarters()).quantize(4))), quarters())
    given_image = image(0)
    assert as_image(given_image) is given_image
    for wrong in (np.zeros((4, 4, 3), np.int32), np.zeros((1, 4, 4, 3), np.uint8), np.zeros((4, 0), np.uint8)):
        with pytest.raises(ImageError, match="is not an image: give "):
            as_image(wrong)


def test_folders_stand_for_the_images_below_them(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a/3.webp", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PILImage.fromarray(quarters()).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    (tmp_path / "b" / "broken.png").write_bytes(b"")
    names = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path])]
    assert names == ["a/3.webp", "b/1.JPG", "b/2.png", "b/broken.png"]
    (tmp_path / "empty").mkdir()
    images = read([tmp_path / "empty", tmp_path, tmp_path / "none.png"], SPEC)
    assert [one.name for one in images.images] == ["3.webp", "1.JPG", "2.png"]
    assert [text.split(":")[0].rsplit("/", 1)[-1] for text in images.skipped] == ["empty", "broken.png", "none.png"]
    with pytest.raises(ImageError, match="empty: a folder without image files"):
        read([tmp_path / "empty"], SPEC)
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        read([tmp_path / "none.png"], SPEC)


sides = st.integers(9, 70)
specs = st.builds(
    InputSpec,
    st.integers(4, 40),
    st.integers(4, 40),
    fit=st.sampled_from(["crop", "squash"]),
    crop=st.floats(0.3, 1.0),
    resample=st.sampled_from(["nearest", "box", "bilinear", "bicubic"]),
)
REACH = {"nearest": 0.5, "box": 0.5, "bilinear": 1.0, "bicubic": 2.0}


@settings(max_examples=150)
@given(sides, sides, specs, st.data())
def test_the_tensor_sees_a_square_where_the_box_says(
    width: int, height: int, spec: InputSpec, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    one = as_image(pixels)
    seen, box = one.tensor(spec)[0], one.box(spec)
    assert seen.shape == (spec.height, spec.width)
    step_x, step_y = box.width / spec.width, box.height / spec.height
    x = box.left + (torch.arange(spec.width, dtype=torch.float64) + 0.5) * step_x
    y = box.top + (torch.arange(spec.height, dtype=torch.float64) + 0.5) * step_y
    # How far around its centre a pixel of the input looks, in source pixels.
    far_x, far_y = (REACH[spec.resample] * max(1.0, step) + 0.51 for step in (step_x, step_y))

    def inside(first: float, last: float, at: torch.Tensor, far: float, side: int) -> torch.Tensor:
        # The image ends where its edge is: a filter does not look beyond.
        return ((at - far >= first) | (first == 0)) & ((at + far <= last) | (last == side))

    def outside(first: float, last: float, at: torch.Tensor, far: float) -> torch.Tensor:
        return (at + far <= first) | (at - far >= last)

    full = inside(top, bottom, y, far_y, height)[:, None] & inside(left, right, x, far_x, width)[None]
    none = outside(top, bottom, y, far_y)[:, None] | outside(left, right, x, far_x)[None]
    assert (seen[full] == 1).all()
    assert (seen[none] == 0).all()


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_square_in_one_cell_is_seen_in_that_cell_only(fit: str) -> None:
    spec = InputSpec(12, 20, fit=fit, crop=0.75, resample="box")
    blank = as_image(np.zeros((61, 90, 3), np.uint8))
    box, grid = blank.box(spec), (3, 5)
    for cell in ((0, 0), (1, 3), (2, 4)):
        pixels = np.zeros((61, 90, 3), np.uint8)
        top = int(np.ceil(box.top + cell[0] * box.height / grid[0]))
        left = int(np.ceil(box.left + cell[1] * box.width / grid[1]))
        bottom = int(box.top + (cell[0] + 1) * box.height / grid[0])
        right = int(box.left + (cell[1] + 1) * box.width / grid[1])
        pixels[top:bottom, left:right] = 255
        pooled = torch.nn.functional.avg_pool2d(as_image(pixels).tensor(spec)[:1], 4)[0]
        assert tuple(divmod(int(pooled.argmax()), grid[1])) == cell
        assert pooled[cell] > 0.7
        assert pooled.sum() - pooled[cell] < 0.1


@given(sides, sides, specs)
def test_the_box_has_the_shape_of_the_input_and_lies_in_the_middle(width: int, height: int, spec: InputSpec) -> None:
    box = as_image(np.zeros((height, width, 3), np.uint8)).box(spec)
    if spec.fit == "squash":
        assert (box.left, box.top, box.right, box.bottom) == (0, 0, width, height)
        return
    assert box.left >= -1e-9
    assert box.top >= -1e-9
    assert box.left + box.right == pytest.approx(width)
    assert box.top + box.bottom == pytest.approx(height)
    assert box.width / box.height == pytest.approx(spec.width / spec.height)
    assert max(box.width / width, box.height / height) == pytest.approx(spec.crop)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 360), (500, 500)])
def test_agrees_with_the_preset_of_torchvision(width: int, height: int) -> None:
    from torchvision.transforms._presets import ImageClassification

    spec = InputSpec(112, 112, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop=112 / 128)
    preset = ImageClassification(crop_size=112, resize_size=128, antialias=True)
    smooth = image(4, width=width, height=height)
    difference = (smooth.tensor(spec) - preset(smooth.pil)).abs() * 0.225
    assert float(difference.max()) < 4 / 255
    assert float(difference.mean()) < 1 / 255


def test_channels() -> None:
    grey = InputSpec(8, 12, 1, (0.5,), (0.5,))
    one = as_image(quarters())
    assert one.tensor(grey).shape == (1, 8, 12)
    luma = 0.299 * RED[0] + 0.587 * RED[1] + 0.114 * RED[2]
    assert float(one.tensor(grey)[0, 0, 0]) == pytest.approx((luma / 255 - 0.5) / 0.5, abs=0.01)
    colour = InputSpec(4, 4)
    assert as_image(quarters()[..., 0]).tensor(colour).shape == (3, 4, 4)
    with pytest.raises(InnersightError, match=r"image: the network takes 4 channels but the image has 3; give \.npy"):
        one.tensor(InputSpec(4, 4, 4, (0.0,) * 4, (1.0,) * 4))


def test_a_batch_is_the_images_in_order() -> None:
    spec = InputSpec(8, 8)
    both = stack([image(1), image(2)], spec)
    assert torch.equal(both[1], image(2).tensor(spec))
    assert not torch.equal(both[0], both[1])
    assert both.dtype == torch.float32


def test_a_tiff_without_its_size_is_told(tmp_path: Path) -> None:
    # A little-endian TIFF whose directory has no entries.
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0" + b"\0" * 20)
    with pytest.raises(ImageError, match=r"a\.tif: "):
        load_image(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    st.sampled_from(["png", "jpeg", "gif", "webp", "tiff", "bmp"]),
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=5),
)
def test_damaged_files_are_read_or_told(kind: str, keep: float, changes: list[tuple[int, int]]) -> None:
    content = bytearray(_bytes(kind))
    content = content[: round(len(content) * keep)]
    for place, value in changes:
        if place < len(content):
            content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.img"
        path.write_bytes(bytes(content))
        try:
            mode = load_image(path).pil.mode
        except ImageError as error:
            mode = str(error)
    assert mode in ("RGB", "L") or "a.img: " in mode


def test_the_callers_image_stays_as_it_is() -> None:
    pil = PILImage.new("RGB", (4, 4))
    pil.info["dpi"] = (72, 72)
    image = as_image(pil)
    assert pil.info == {"dpi": (72, 72)}
    assert image.pil is not pil
