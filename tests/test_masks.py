from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from innersight.boxes import PixelBox
from innersight.errors import InnersightError
from innersight.masks import laid, numbers, read_masks
from innersight.toons import CLASSES, PARTS, Drawn, draw, write

NUMBERS = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3


def folder(tmp_path: Path, legend: object = ("background", None, "hair")) -> Path:
    home = tmp_path / "masks"
    (home / "cats").mkdir(parents=True)
    if legend is not None:
        (home / "parts.json").write_text(json.dumps(legend))
    return home


def test_masks_of_numbers(tmp_path: Path) -> None:
    home = folder(tmp_path)
    palette = PILImage.fromarray(NUMBERS)
    palette = palette.convert("P")
    palette.putdata(NUMBERS.ravel().tolist())
    palette.putpalette([200, 10, 10, 0, 0, 0, 10, 10, 200])
    palette.save(home / "cats" / "7.png")
    np.save(home / "8.npy", NUMBERS.astype(np.uint16))
    masks = read_masks(home)
    assert masks.parts == ("background", "hair")
    assert masks.ends == {"cats/7", "8"}
    for name in ("images/cats/7.jpg", "8.jpg"):
        found = masks.of(name)
        assert found is not None
        assert set(found) == {"background", "hair"}
        assert np.array_equal(found["hair"], NUMBERS == 2)
    assert masks.of("images/dogs/7.jpg") is None
    assert masks.end("images/cats/7.jpg") == "cats/7"


def test_two_numbers_of_one_part(tmp_path: Path) -> None:
    home = folder(tmp_path, {"0": "hair", "1": None, "2": "hair"})
    PILImage.fromarray(NUMBERS).save(home / "7.png")
    found = read_masks(home).of("7.jpg")
    assert found is not None
    assert np.array_equal(found["hair"], NUMBERS != 1)


def test_a_folder_for_each_part(tmp_path: Path) -> None:
    for part, value in (("hair", 2), ("eyes", 1)):
        (tmp_path / part / "cats").mkdir(parents=True)
        PILImage.fromarray(np.where(value == NUMBERS, 255, 0).astype(np.uint8)).save(tmp_path / part / "cats" / "7.png")
    PILImage.fromarray(NUMBERS).save(tmp_path / "hair" / "8.png")
    masks = read_masks(tmp_path)
    assert masks.parts == ("eyes", "hair")
    found = masks.of("cats/7.jpg")
    assert found is not None
    assert np.array_equal(found["eyes"], NUMBERS == 1)
    alone = masks.of("8.jpg")
    assert alone is not None
    assert list(alone) == ["hair"]
    assert masks.of("9.jpg") is None


@pytest.mark.parametrize(
    ("legend", "said"),
    [
        ("{", "not a readable list of parts .*; write a list of names"),
        ('"hair"', "names no part"),
        ("[]", "names no part"),
        ("[null]", "names no part"),
        ('{"hair": 1}', "hair: '1' is not a number with a name; write a list of names"),
        ('{"1": 5}', "1: '5' is not a number with a name"),
        ('[""]', "0: '' is not a number with a name"),
    ],
)
def test_wrong_legends(tmp_path: Path, legend: str, said: str) -> None:
    (tmp_path / "parts.json").write_text(legend)
    with pytest.raises(InnersightError, match=said):
        read_masks(tmp_path)


def test_folders_that_hold_no_masks(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"nowhere' is not a folder; give the folder"):
        read_masks(tmp_path / "nowhere")
    with pytest.raises(InnersightError, match=r"no masks in this folder; name them as the images are"):
        read_masks(tmp_path)
    (tmp_path / "hair").mkdir()
    (tmp_path / "hair" / "7.mat").write_bytes(b"?")
    with pytest.raises(InnersightError, match=r"it holds \.mat files, which are not read as masks"):
        read_masks(tmp_path)
    PILImage.fromarray(NUMBERS).save(tmp_path / "7.png")
    with pytest.raises(InnersightError, match=r"'7\.png' lies in no part's folder; write PART/NAME\.png, or"):
        read_masks(tmp_path)


def test_masks_that_are_none(tmp_path: Path) -> None:
    home = folder(tmp_path)
    PILImage.fromarray(NUMBERS + 5).save(home / "a.png")
    with pytest.raises(InnersightError, match=r'a\.png: the mask holds 5, which parts\.json .*"5": null'):
        read_masks(home).of("a.jpg")
    PILImage.fromarray(NUMBERS).save(home / "b.jpg")
    with pytest.raises(InnersightError, match=r"b\.jpg: a mask of numbers needs a lossless file; save it as \.png"):
        numbers(home / "b.jpg")
    PILImage.new("RGB", (4, 4)).save(home / "c.png")
    with pytest.raises(InnersightError, match=r"c\.png: .* this one has RGB colours; save it as indexed PNG"):
        numbers(home / "c.png")
    (home / "d.png").write_bytes(b"no image")
    with pytest.raises(InnersightError, match=r"d\.png: cannot be read as a mask"):
        numbers(home / "d.png")
    np.save(home / "e.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(InnersightError, match=r"e\.npy: float32 \(3, 4\) is not a mask; give integers"):
        numbers(home / "e.npy")
    np.save(home / "f.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InnersightError, match=r"f\.npy: cannot be read as a mask"):
        numbers(home / "f.npy")


def test_laid_takes_the_pixel_in_the_middle() -> None:
    values = np.arange(36).reshape(6, 6)
    assert np.array_equal(laid(values, PixelBox(0, 0, 6, 6), (6, 6)), values)
    assert np.array_equal(laid(values, PixelBox(1, 2, 5, 6), (4, 4)), values[2:6, 1:5])
    assert np.array_equal(laid(values, PixelBox(0, 0, 6, 6), (2, 2)), values[1::3, 1::3])


def test_toons_are_written_with_masks_that_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "toons", per_class=1, seed=3, masks=tmp_path / "masks")
    masks = read_masks(tmp_path / "masks")
    assert masks.parts == PARTS
    assert len(masks.ends) == len(CLASSES)
    found = masks.of(tmp_path / "toons" / "elke" / "elke-000003.png")
    assert found is not None
    toon = draw("elke", 3)
    for part in PARTS:
        assert np.array_equal(found.get(part, np.zeros_like(toon.mask(part))), toon.mask(part))
    with pytest.raises(ValueError, match="neither may be in the other"):
        write(tmp_path / "new", per_class=1, masks=tmp_path / "new" / "masks")
    with pytest.raises(FileExistsError, match="masks is not empty"):
        write(tmp_path / "other", per_class=1, masks=tmp_path / "masks")


def test_toons_as_a_data_set() -> None:
    drawn = Drawn(per_class=2, seed=5)
    assert len(drawn) == 2 * len(CLASSES)
    assert drawn[3]["label"] == CLASSES[1]
    assert np.array_equal(drawn[3]["image"], draw(CLASSES[1], 6).pixels)
    assert sum(mask.astype(int) for mask in drawn[3]["masks"].values()).min() == 1
    with pytest.raises(IndexError, match="there are 20 toons"):
        drawn[20]
    with pytest.raises(ValueError, match="at least 1"):
        Drawn(per_class=0)
