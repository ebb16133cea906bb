"""Pixel values of every mode, format, depth and kind of transparency, as they are shown to a network."""

import io
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms

from innersight import pixels as module
from innersight.image import ImageError, as_image, decode_image, load_image

# Red, a green that is transparent, blue half transparent, and brown.
RGBA = np.array([[[255, 0, 0, 255], [0, 255, 0, 0]], [[0, 0, 255, 128], [200, 100, 50, 255]]], np.uint8)
RGB = RGBA[..., :3]
ON_WHITE = [[255, 0, 0], [255, 255, 255], [127, 127, 255], [200, 100, 50]]
COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]]
GREY_ON_WHITE = [76, 255, 142, 124]


def pixels(path: Path, **options: Any) -> list[Any]:
    image = load_image(path, **options).pil
    assert image.mode in ("RGB", "L")
    return np.asarray(image).reshape(image.width * image.height, -1).squeeze().tolist()  # type: ignore[no-any-return]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: list[bytes], depth: int, kind: int, **chunks: bytes) -> bytes:
    """A PNG of these packed rows; as Pillow writes few depths itself."""
    width = len(rows[0]) * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind])
    head = struct.pack(">IIBBBBB", min(width, 2), len(rows), depth, kind, 0, 0, 0)
    more = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


W = 65535
PNGS: dict[str, tuple[bytes, list[Any]]] = {
    "rgb 16": (png([words(W, 0, 0, 0, W, 0), words(0, 0, W, 51400, 25700, 12850)], 16, 2), COLOURS),
    "rgb 16, one transparent": (
        png([words(W, 0, 0, 0, W, 0), words(0, 0, W, 51400, 25700, 12850)], 16, 2, tRNS=words(0, W, 0)),
        [COLOURS[0], [255] * 3, *COLOURS[2:]],
    ),
    "rgb 16, one transparent, in between": (
        png([words(W, 0, 0, 0, 32768, 0), words(0, 0, W, 51400, 25700, 12850)], 16, 2, tRNS=words(0, 32768, 0)),
        [COLOURS[0], [255] * 3, *COLOURS[2:]],
    ),
    "rgba 16": (
        png([words(W, 0, 0, W, 0, W, 0, 0), words(0, 0, W, 32896, 51400, 25700, 12850, W)], 16, 6), ON_WHITE,
    ),
    "grey and alpha 16": (
        png([words(W, W, 1000, 0), words(0, 32896, 51400, W)], 16, 4), [[255] * 3, [255] * 3, [127] * 3, [200] * 3],
    ),
    "grey 16": (png([words(0, 32768), words(W, 1000)], 16, 0), [0, 128, 255, 4]),
    "grey 16, black transparent": (
        png([words(0, 32768), words(W, 1000)], 16, 0, tRNS=words(0)), [[255] * 3, [128] * 3, [255] * 3, [4] * 3],
    ),
    "grey 16, middle transparent": (
        png([words(0, 32768), words(W, 1000)], 16, 0, tRNS=words(32768)), [[0] * 3, [255] * 3, [255] * 3, [4] * 3],
    ),
    "grey 4": (png([b"\x0f", b"\x7c"], 4, 0), [0, 255, 119, 204]),
    "grey 4, one transparent": (
        png([b"\x0f", b"\x7c"], 4, 0, tRNS=words(7)), [[0] * 3, [255] * 3, [255] * 3, [204] * 3],
    ),
    "grey 2, one transparent": (
        png([b"\x20", b"\xd0"], 2, 0, tRNS=words(2)), [[0] * 3, [255] * 3, [255] * 3, [85] * 3],
    ),
    "grey 1, black transparent": (png([b"\x40", b"\x80"], 1, 0, tRNS=words(0)), [[255] * 3] * 4),
    "grey 1, white transparent": (
        png([b"\x40", b"\x80"], 1, 0, tRNS=words(1)), [[0] * 3, [255] * 3, [255] * 3, [0] * 3],
    ),
    "palette, transparent": (
        png([b"\x10", b"\xb0"], 2, 3, PLTE=RGB.tobytes(), tRNS=bytes([255, 0, 128])),
        [COLOURS[0], [255] * 3, [127, 127, 255], COLOURS[3]],
    ),
    # What a file says of gamma is left aside, as it was when networks were trained.
    "gamma": (png([b"\x64\xc8"], 8, 0, gAMA=struct.pack(">I", 100_000)), [100, 200]),
}  # fmt: skip


@pytest.mark.parametrize("case", PNGS)
def test_png(case: str, tmp_path: Path) -> None:
    data, wanted = PNGS[case]
    (tmp_path / "a.png").write_bytes(data)
    assert pixels(tmp_path / "a.png") == wanted
    assert decode_image(data, "a.png").pil.tobytes() == load_image(tmp_path / "a.png").pil.tobytes()


FORMATS = {".png": {}, ".tif": {}, ".webp": {"lossless": True}, ".jp2": {}, ".tga": {}}


@pytest.mark.parametrize("ending", FORMATS)
def test_transparency_of_every_format(ending: str, tmp_path: Path) -> None:
    base = PILImage.fromarray(RGBA)
    for mode, wanted in (("RGB", COLOURS), ("RGBA", ON_WHITE), ("LA", [[v] * 3 for v in GREY_ON_WHITE])):
        base.convert(mode).save(tmp_path / f"a{ending}", **FORMATS[ending])
        assert pixels(tmp_path / f"a{ending}") == wanted, mode
    black = [[255, 0, 0], [0, 0, 0], [0, 0, 128], [200, 100, 50]]
    base.save(tmp_path / f"a{ending}", **FORMATS[ending])
    assert pixels(tmp_path / f"a{ending}", background="black") == black


def test_gif_ico_and_bmp(tmp_path: Path) -> None:
    base = PILImage.fromarray(RGBA)
    base.save(tmp_path / "a.gif")
    assert pixels(tmp_path / "a.gif")[:2] == [[255, 0, 0], [255, 255, 255]]
    base.resize((16, 16), PILImage.Resampling.NEAREST).save(tmp_path / "a.ico")
    assert pixels(tmp_path / "a.ico")[::8][:2] == [[255, 0, 0], [255, 255, 255]]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
    body = bytes([0, 0, 255, 255, 0, 255, 0, 0])
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 130, 0, 0, 122) + head + body)
    assert pixels(tmp_path / "a.bmp") == [[255, 0, 0], [255, 255, 255]]
    # The fourth byte of a plain BMP means nothing.
    base.save(tmp_path / "b.bmp")
    assert pixels(tmp_path / "b.bmp") == COLOURS


def made(mode: str) -> PILImage.Image:
    base = PILImage.fromarray(RGBA)
    if mode in ("I", "I;16", "I;16B"):
        image = PILImage.new(mode, (2, 2))
        for at, value in {(0, 0): W, (1, 0): 32768, (0, 1): 0, (1, 1): 257}.items():
            image.putpixel(at, value)
        return image
    if mode == "F":
        return PILImage.fromarray(np.array([[1, 0.5], [0, 1 / 255]], np.float32))
    if mode == "La":
        return base.convert("LA").convert("La")
    if mode == "PA":
        image = PILImage.fromarray(RGB).quantize(4).convert("PA")
        image.putalpha(PILImage.fromarray(RGBA[..., 3]))
        return image
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        lab = ImageCms.profileToProfile(PILImage.fromarray(RGB), *profiles, outputMode="LAB")
        assert lab is not None
        return lab
    return base.convert(mode)


DEEP, SHOWN = [255, 128, 0, 1], [[v] * 3 for v in GREY_ON_WHITE]
MODES: dict[str, list[Any]] = {
    "1": [0, 255, 0, 0], "L": [76, 150, 29, 124], "LA": SHOWN, "La": SHOWN, "P": COLOURS, "PA": ON_WHITE,
    "RGB": COLOURS, "RGBA": ON_WHITE, "RGBa": ON_WHITE, "RGBX": COLOURS, "CMYK": COLOURS, "HSV": COLOURS,
    "YCbCr": COLOURS, "LAB": COLOURS, "I": DEEP, "F": DEEP, "I;16": DEEP, "I;16B": DEEP,
}  # fmt: skip
ROUNDED = {"La": 1, "RGBa": 1, "YCbCr": 1, "HSV": 2, "LAB": 25}


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_pillow(mode: str) -> None:
    image = PILImage.fromarray(RGB).quantize(4) if mode == "P" else made(mode)
    before = image.tobytes(), dict(image.info)
    found = np.asarray(as_image(image).pil).reshape(4, -1).squeeze().astype(int)
    assert np.abs(found - np.array(MODES[mode])).max() <= ROUNDED.get(mode, 0)
    assert (image.tobytes(), dict(image.info)) == before


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("grey", [False, True])
def test_transparency_of_tiff(depth: str, alpha: str, grey: bool, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RGBA.astype(np.float64) / 255
    if alpha == "assocalpha":
        values[..., :3] *= values[..., 3:]
    values = values[..., [0, 3]] if grey else values
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[depth]
    stored = (values * top).astype(depth) if depth == "float32" else np.rint(values * top).astype(depth)
    kind = "minisblack" if grey else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind, extrasamples=[alpha])
    wanted = np.array([[row[0]] * 3 for row in ([255], [255], [127], [200])] if grey else ON_WHITE)
    assert np.abs(np.array(pixels(tmp_path / "a.tif")) - wanted).max() <= 1


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_a_fourth_sample_that_tiff_says_nothing_of(depth: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stored = RGBA.astype(depth) * (257 if depth == "uint16" else 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unspecified"])
    unstated = load_image(tmp_path / "a.tif")
    assert np.asarray(unstated.pil).reshape(4, 3).tolist() == COLOURS
    assert "the fourth is not stated to be transparency" in unstated.notes
    # Without the tag it is taken for transparency, as Pillow does; networks of four channels take it as it is.
    data = (tmp_path / "a.tif").read_bytes()
    at = data.index(struct.pack("<HHI", 338, 3, 1))
    (tmp_path / "b.tif").write_bytes(data[:at] + struct.pack("<H", 65000) + data[at + 2 :])
    untagged = load_image(tmp_path / "b.tif")
    assert np.abs(np.asarray(untagged.pil).reshape(4, 3).astype(int) - ON_WHITE).max() <= 1
    for one in (unstated, untagged):
        assert one.bands is not None
        assert np.allclose(one.bands, RGBA / 255, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp", "bands.tif"])
def test_all_orientations(orientation: int, ending: str, tmp_path: Path) -> None:
    grid = np.kron(np.array([[0, 60], [120, 180], [240, 30]], np.uint8), np.ones((16, 16), np.uint8))
    # Where the row and the column of the file lie (EXIF 2.32, tag 274): as turned and mirrored by hand.
    upright = {
        1: grid, 2: grid[:, ::-1], 3: grid[::-1, ::-1], 4: grid[::-1], 5: grid.T, 6: grid[::-1].T,
        7: grid[::-1, ::-1].T, 8: grid[:, ::-1].T,
    }[orientation]  # fmt: skip
    path = tmp_path / f"a{ending}"
    if ending == "bands.tif":
        tifffile = pytest.importorskip("tifffile")
        bands = np.stack([grid] * 5, 2)
        tifffile.imwrite(
            path, bands, photometric="rgb", extrasamples=["unspecified"] * 2, extratags=[(274, 3, 1, orientation, True)]
        )
    else:
        exif = PILImage.Exif()
        exif[274] = orientation
        options = {".webp": {"lossless": True}, ".jpg": {"quality": 100}}.get(ending, {})
        PILImage.fromarray(grid).save(path, exif=exif, **options)
    found = np.asarray(load_image(path).pil.convert("L")).astype(int)
    assert np.abs(found - upright).max() <= 2


def test_cmyk_as_adobe_writes_it(tmp_path: Path) -> None:
    large = PILImage.fromarray(RGB).resize((32, 32), PILImage.Resampling.NEAREST).convert("CMYK")
    for ending in (".jpg", ".tif"):
        large.save(tmp_path / f"a{ending}", **({"quality": 100} if ending == ".jpg" else {}))
        found = np.asarray(load_image(tmp_path / f"a{ending}").pil)[8::16, 8::16].reshape(4, 3).astype(int)
        assert np.abs(found - COLOURS).max() <= 4


def test_profiles_are_named(tmp_path: Path) -> None:
    image = PILImage.fromarray(RGB)
    image.save(tmp_path / "a.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    image.save(tmp_path / "b.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    image.save(tmp_path / "c.png", icc_profile=b"no profile")
    assert load_image(tmp_path / "a.png").notes == ()
    assert "was not applied" in load_image(tmp_path / "b.png").notes[0]
    assert load_image(tmp_path / "c.png").notes == ("its colour profile (of unknown kind) was not applied",)
    assert pixels(tmp_path / "b.png") == COLOURS


def test_animations_and_frames(tmp_path: Path) -> None:
    frames = [PILImage.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert load_image(tmp_path / name).notes[0] == "first of 3 frames"
        assert pixels(tmp_path / name)[0] == [255, 0, 0]


def test_what_is_no_image_here(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    (tmp_path / "a.heic").write_bytes(heic)
    with pytest.raises(ImageError, match=r"a\.heic: HEIC is not supported: save it as JPEG or PNG"):
        load_image(tmp_path / "a.heic")
    with pytest.raises(ImageError, match="HEIC is not supported"):
        decode_image(heic, "a.jpg")
    (tmp_path / "b.jpg").write_bytes(PNGS["grey 4"][0])
    assert pixels(tmp_path / "b.jpg") == [0, 255, 119, 204]


def test_threads_leave_the_filters_of_warnings_as_they_are(tmp_path: Path) -> None:
    data = io.BytesIO()
    PILImage.fromarray(RGB).save(data, "PNG")
    gate = threading.Barrier(4)

    def work() -> None:
        for _ in range(50):
            gate.wait()
            decode_image(data.getvalue(), "a.png")

    before = list(warnings.filters)
    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before
    assert not module._quieted
