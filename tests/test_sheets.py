"""Value sheets give the values back; sheets stay within 4096 px."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from sheet_reader import read_tiles, read_values

from innersight.render.sheets import MAX_SIDE, colour_sheet, image_file, small, value_sheet
from innersight.storage.sheet_names import files_of


@st.composite
def stacks(draw: st.DrawFn) -> torch.Tensor:
    count, height, width = draw(st.tuples(st.integers(1, 20), st.integers(1, 12), st.integers(1, 12)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    size = 10.0 ** draw(st.integers(-6, 6))
    values = (torch.rand(count, height, width, generator=generator) - draw(st.floats(0, 1))) * size
    if draw(st.booleans()):
        values[draw(st.integers(0, count - 1))] = draw(st.sampled_from([0.0, size, -size]))
    return values


@settings(max_examples=60)
@given(stacks())
def test_values_come_back_within_half_a_step(values: torch.Tensor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        document = value_sheet(Path(folder), values)
        back = read_values(Path(folder), document)
    assert back.shape == values.shape
    span = values.flatten(1).amax(1) - values.flatten(1).amin(1)
    step = span[:, None, None] / 255 + values.abs().max() * 1e-6
    assert ((back - values).abs() <= 0.51 * step).all()
    assert document["lo"] == values.flatten(1).amin(1).tolist()
    assert document["hi"] == values.flatten(1).amax(1).tolist()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_written_as_the_lowest(bad: float, tmp_path: Path) -> None:
    values = torch.tensor([[[1.0, 2.0], [3.0, bad]], [[bad, bad], [bad, bad]]])
    document = value_sheet(tmp_path, values)
    assert (document["lo"], document["hi"]) == ([1.0, 0.0], [3.0, 0.0])
    assert torch.allclose(
        read_values(tmp_path, document), torch.tensor([[[1.0, 2], [3, 1]], [[0.0, 0], [0, 0]]]), atol=0.01
    )


def test_many_tiles_fill_several_files(tmp_path: Path) -> None:
    # 500 px wide: 8 columns and 8 rows, 64 tiles a file.
    values = torch.zeros(130, 500, 500)
    values[torch.arange(130), torch.arange(130), 7] = 1
    document = value_sheet(tmp_path, values)
    sheet = document["sheet"]
    assert sheet["tile"] == [500, 500]
    assert sheet["count"] == 130
    assert (sheet["columns"], sheet["per_file"], len(sheet["files"])) == (8, 64, 3)
    for name in sheet["files"]:
        with PILImage.open(tmp_path / name) as file:
            assert max(file.size) <= MAX_SIDE
    tiles = read_tiles(tmp_path, sheet)
    assert [divmod(int(tile.argmax()), 500) for tile in tiles] == [(i, 7) for i in range(130)]


@given(st.integers(1, 300), st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=25)
def test_no_sheet_is_larger_than_browsers_take(count: int, height: int, width: int) -> None:
    tiles = np.zeros((min(count, 4_000_000 // (height * width) + 1), height, width, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        sheet = colour_sheet(Path(folder), tiles)
        shape = sheet["columns"] * width
        assert shape <= MAX_SIDE
        for name in sheet["files"]:
            with PILImage.open(Path(folder) / name) as file:
                assert file.width == shape
                assert file.height <= MAX_SIDE
                assert file.height % height == 0
        assert sheet["count"] == len(tiles)


def test_colours_are_kept(tmp_path: Path) -> None:
    tiles = np.zeros((5, 16, 24, 3), np.uint8)
    for i in range(5):
        tiles[i] = (40 * i, 255 - 40 * i, 90)
    back = read_tiles(tmp_path, colour_sheet(tmp_path, tiles))
    assert np.abs(back[:, 4:-4, 4:-4].astype(int) - tiles[:, 4:-4, 4:-4]).max() < 12


def test_nothing_at_all(tmp_path: Path) -> None:
    document = value_sheet(tmp_path, torch.zeros(0, 4, 5))
    assert document["lo"] == document["hi"] == document["sheet"]["files"] == []
    assert document["sheet"]["count"] == 0


def test_the_same_image_is_stored_once(tmp_path: Path) -> None:
    tiles = np.full((3, 8, 8, 3), 77, np.uint8)
    assert colour_sheet(tmp_path, tiles) == colour_sheet(tmp_path, tiles)
    assert len(list(tmp_path.iterdir())) == 1


def test_files_of_a_document(tmp_path: Path) -> None:
    pixels = np.zeros((6, 9, 3), np.uint8)
    document = {
        "a": [{"file": "x.webp", "width": 3}],
        "b": {"sheet": {"files": ["y.png", "z.png"]}, "file": 3},
        "c": None,
    }
    assert files_of(document) == {"x.webp", "y.png", "z.png"}
    assert image_file(tmp_path, pixels)["width"] == 9


def test_previews_are_scaled_down_only() -> None:
    assert small(PILImage.new("L", (1280, 320))).shape == (160, 640, 3)
    assert small(PILImage.new("RGB", (30, 20))).shape == (20, 30, 3)
