"""Images with any number of bands, from arrays and files to maps, patterns and reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import InPlace
from torch.nn import functional as F

import innersight as ins
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, as_image, load_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.study import Plan
from innersight.trust import Protocol


def scene(bands: int, seed: int = 0, *, height: int = 30, width: int = 40) -> np.ndarray:
    """Smooth random bands, (H, W, C) float32 in 0..1."""
    coarse = np.random.default_rng(seed).uniform(0, 1, (1, bands, 4, 5))
    smooth = F.interpolate(torch.from_numpy(coarse), size=(height, width), mode="bilinear")[0]
    return smooth.permute(1, 2, 0).numpy().astype(np.float32)


def spec_of(bands: int, **more: object) -> InputSpec:
    return InputSpec(24, 24, bands, tuple(0.1 * i for i in range(bands)), (0.5,) * bands, **more)


def network(bands: int, **more: object) -> Model:
    torch.manual_seed(0)
    return ins.load(InPlace(channels=bands).eval(), input=spec_of(bands, **more), labels=list("abcd"))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6, 10])
def test_a_network_of_any_number_of_bands(bands: int, tmp_path: Path) -> None:
    model = network(bands)
    images = []
    for seed in (1, 2):
        np.save(tmp_path / f"{seed}.npy", scene(bands, seed))
        images.append(tmp_path / f"{seed}.npy")
    assert ins.predict(model, tmp_path).logits.shape == (2, 4)
    assert ins.activations(model, images).figure().axes
    made = ins.patterns(model, ["conv1:0", "class:a"], steps=2, images=images)
    assert made.images.shape == (2, bands, 24, 24)
    assert made.figure().axes
    assert ins.explain(model, images).figure().axes
    assert ins.trust(model, images, ["gradcam"], protocol=Protocol(steps=2)).images
    study = ins.study(model, images, tmp_path / "study", plan=Plan(units=1, steps=1))
    study.report(tmp_path / "report.html")
    document = json.loads((tmp_path / "study" / "web" / "documents" / "study.json").read_text())
    assert document["model"]["input"]["channels"] == bands
    assert f"{bands} bands of float32" in document["images"][0]["notes"]


def test_every_band_is_resized_like_an_image_and_normalised_by_its_own_figures() -> None:
    values = (scene(3, 1) * 255).round().astype(np.uint8)
    spec = InputSpec(24, 24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), crop=0.9)
    plain = as_image(values).tensor(spec)
    banded = as_image(values.astype(np.float32) / 255).tensor(spec)
    assert torch.allclose(plain, banded, atol=1.5 / 255 / 0.5)
    six = np.concatenate([values, values[..., ::-1]], 2)
    more = as_image(six).tensor(InputSpec(24, 24, 6, (0.1, 0.2, 0.3, 0.3, 0.2, 0.1), (0.5,) * 6, crop=0.9))
    assert torch.allclose(more[0] * 0.5 + 0.1, more[5] * 0.5 + 0.1, atol=1e-6)
    assert torch.allclose(more[0], banded[0], atol=1e-6)


def test_the_bands_that_are_shown_are_those_stated() -> None:
    values = np.zeros((24, 24, 6), np.float32)
    for band in range(6):
        values[..., band] = band / 10
    one = as_image(values)
    assert np.asarray(one.seen(spec_of(6)))[0, 0].tolist() == [0, 26, 51]
    stated = spec_of(6, display=(5, 3, 1))
    assert np.asarray(one.seen(stated))[0, 0].tolist() == [128, 76, 26]
    assert np.asarray(one.display(stated))[0, 0].tolist() == [128, 76, 26]
    model = network(6, display=(5, 3, 1))
    assert "bands 5, 3 and 1 are displayed as red, green and blue" in " ".join(model.notes)
    assert "choose others with display=" in " ".join(network(6).notes)
    with pytest.raises(InnersightError, match=r"display=\(0, 1, 6\): give three band numbers, each from 0 to 5"):
        spec_of(6, display=(0, 1, 6))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float64, ">u2", ">f4"])
def test_sample_types(dtype: Any, tmp_path: Path) -> None:
    top = {np.uint8: 255, np.uint16: 65535, ">u2": 65535}.get(dtype, 1)
    np.save(tmp_path / "a.npy", (scene(5, 3) * top).astype(dtype))
    bands = load_image(tmp_path / "a.npy").bands
    assert bands is not None
    assert bands.dtype == np.float32
    assert np.abs(bands - scene(5, 3)).max() < 1 / 250


def test_multi_band_tiffs(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (scene(6, 4) * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "chunky.tif", values, planarconfig="contig", photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "planar.tif", values.transpose(2, 0, 1), planarconfig="separate", photometric="minisblack"
    )
    for name in ("chunky.tif", "planar.tif"):
        bands = load_image(tmp_path / name).bands
        assert bands is not None, name
        assert bands.shape == values.shape
        assert np.array_equal(np.rint(bands * 65535).astype(np.uint16), values)


@pytest.mark.parametrize("bands", [2, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_no_band_of_a_tiff_is_lost(bands: int, dtype: type, planar: str, photometric: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    if photometric == "rgb" and (bands < 4 or dtype == np.float32):
        pytest.skip("three bands and more make a colour")
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    values = (scene(bands, 4) * top).astype(dtype)
    own = bands - 3 if photometric == "rgb" else bands - 1
    tifffile.imwrite(
        tmp_path / "a.tif", values if planar == "contig" else values.transpose(2, 0, 1),
        photometric=photometric, planarconfig=planar, extrasamples=["unspecified"] * own, compression="lzw",
    )  # fmt: skip
    one = load_image(tmp_path / "a.tif")
    assert one.bands is not None
    assert np.array_equal(np.rint(one.bands * top), np.rint(values))
    assert one.tensor(spec_of(bands)).shape == (bands, 24, 24)
    if photometric == "rgb":
        assert one.tensor(spec_of(3)).shape == (3, 24, 24)
    else:
        with pytest.raises(ImageError, match=r"a\.tif: the network takes 3 channels but the image has"):
            one.tensor(spec_of(3))


def test_colours_are_read_where_the_further_bands_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (scene(5, 4) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"] * 2)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    one = load_image(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(one.pil), values[..., :3])
    assert "only the colours were read, not the further bands" in one.notes[0]


def test_a_missing_library_is_named_and_the_other_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", (scene(6, 4) * 255).astype(np.uint8), planarconfig="contig", photometric="minisblack"
    )
    np.save(tmp_path / "b.npy", scene(6, 5))
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    found = ins.predict(network(6), tmp_path)
    assert found.names == ("b.npy",)
    assert "a.tif: tifffile is not installed; install it with: pip install 'innersight[tiff]'" in found.skipped[0]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.full((4, 4, 5), np.nan, np.float32), "NaN or infinite values"),
        (np.full((4, 4, 5), np.inf), "NaN or infinite values"),
        (np.full((4, 4, 5), 2.5), r"samples from 2.5 to 2.5 are outside 0..1: rescale them"),
        (np.zeros((4, 4, 5), np.int64), r"array of int64 \(4, 4, 5\) is not an image: give \(H, W\)"),
        (np.zeros((5, 4, 400), np.uint8), r"400 bands in \(5, 4, 400\): bands come last, at most 64"),
        (np.zeros(7, np.uint8), "is not an image"),
        (np.zeros((0, 4, 5), np.uint8), "is not an image"),
        (np.array(["a", "b"]), "is not an image"),
    ],
)
def test_arrays_that_are_no_images(values: np.ndarray, why: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ImageError, match=why):
        load_image(tmp_path / "a.npy")
    with pytest.raises(ImageError, match=why):
        as_image(values)


def test_an_array_file_with_code_is_refused(tmp_path: Path) -> None:
    class Plant:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "proof"), "w")

    np.save(tmp_path / "a.npy", np.array([Plant()], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"a\.npy: cannot be read as an array .*Python objects"):
        load_image(tmp_path / "a.npy")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(("bands", "wanted"), [(5, 6), (6, 3), (2, 1), (3, 6)])
def test_another_number_of_bands_is_said(bands: int, wanted: int) -> None:
    one: Image = as_image(scene(bands))
    for look in (one.tensor, one.seen):
        with pytest.raises(ImageError, match=f"takes {wanted} channels but the image has {bands}; give .npy"):
            look(spec_of(wanted))


def test_a_colour_image_goes_into_a_grey_network_and_a_grey_one_into_colour() -> None:
    assert as_image(scene(3)).tensor(spec_of(1)).shape == (1, 24, 24)
    assert as_image(scene(1)).tensor(spec_of(3)).shape == (3, 24, 24)
