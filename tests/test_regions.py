from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from innersight.errors import InnersightError
from innersight.image import Image, load_image
from innersight.input_spec import InputSpec
from innersight.trust.regions import check_labels, read_regions

SPEC = InputSpec(20, 40, fit="squash")
HEAD = "file,class,x0,y0,x1,y1\n"


def image(path: Path, width: int = 80, height: int = 40) -> Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", (width, height)).save(path)
    return load_image(path)


def boxes(folder: Path, text: str) -> Path:
    file = folder / "boxes.csv"
    file.write_text(text)
    return file


def test_boxes_of_the_class_asked_about(tmp_path: Path) -> None:
    seen = image(tmp_path / "cats" / "7.png")
    file = boxes(tmp_path, HEAD + "cats/7.png,cat,0,0,0.5,0.25\ncats/7.png,dog,0.5,0.5,1,1\ncats/7.png,cat,0.9,0,1,1\n")
    regions = read_regions(file)
    found = regions.find(seen, SPEC, "cat")
    assert found is not None
    truth = torch.zeros(20, 40, dtype=torch.bool)
    truth[:5, :20] = True
    truth[:, 36:] = True
    assert torch.equal(found, truth)
    assert regions.find(seen, SPEC, "bird") is None
    assert regions.find(image(tmp_path / "dogs" / "7.png"), SPEC, "cat") is None
    assert regions.find(image(tmp_path / "other.png"), SPEC, "cat") is None


def test_boxes_follow_the_crop(tmp_path: Path) -> None:
    seen = image(tmp_path / "a.png", 80, 40)
    regions = read_regions(boxes(tmp_path, "file,x0,y0,x1,y1\na.png,0.25,0,0.5,1\na.png,0,0,0.1,1\n"))
    found = regions.find(seen, InputSpec(20, 20), "any")
    assert found is not None
    assert found.sum() == 200
    assert found[:, :10].all()
    outside = read_regions(boxes(tmp_path, "file,x0,y0,x1,y1\na.png,0,0,0.2,1\n"))
    assert outside.find(seen, InputSpec(20, 20), "any") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no boxes"),
        (HEAD, "no boxes"),
        ("file,left,top\na.png,1,2\n", "no column x0, y0, x1, y1"),
        (HEAD + "a.png,cat,0,zero,1,1\n", r"line 2: 0, zero, 1, 1 are not four numbers"),
        (HEAD + "a.png,cat,0,0,1,1\na.png,cat,0,0,1\n", r"line 3: 0, 0, 1, None are not four numbers"),
        (HEAD + "a.png,cat,12,8,140,90\n", r"line 2: corner \(140, 90\) lies outside the image; .* divide pixels"),
        (HEAD + "a.png,cat,0.5,0,0.2,1\n", r"line 2: from \(0.5, 0\) to \(0.2, 1\) is not a box"),
        (HEAD + "a.png,cat,nan,0,0.2,1\n", "is not a box"),
        (HEAD + ",cat,0,0,1,1\n", "line 2: no file named"),
    ],
)
def test_wrong_boxes(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InnersightError, match=said):
        read_regions(boxes(tmp_path, text))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"nowhere\.csv: no such CSV file of boxes"):
        read_regions(tmp_path / "nowhere.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(InnersightError, match="cannot be read as a CSV file of boxes"):
        read_regions(binary)


def test_classes_that_the_network_does_not_know(tmp_path: Path) -> None:
    file = boxes(tmp_path, HEAD + "a.png,kat,0,0,1,1\n")
    with pytest.raises(InnersightError, match=r"'kat'; did you mean cat\?"):
        check_labels(file, ("cat", "dog"))
    check_labels(boxes(tmp_path, HEAD + "a.png,cat,0,0,1,1\nb.png,horse,0,0,1,1\n"), ("cat", "dog"))


def test_masks(tmp_path: Path) -> None:
    seen = image(tmp_path / "images" / "cats" / "7.jpg")
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 40:] = 255
    (tmp_path / "masks" / "cats").mkdir(parents=True)
    PILImage.fromarray(mask).save(tmp_path / "masks" / "cats" / "7.png")
    regions = read_regions(tmp_path / "masks")
    found = regions.find(seen, SPEC, "any")
    assert found is not None
    assert not found[:, :20].any()
    assert found[:, 20:].all()
    assert regions.find(image(tmp_path / "images" / "dogs" / "8.jpg"), SPEC, "any") is None
    with pytest.raises(InnersightError, match=r"the mask has 80x40 pixels and the image 81x40"):
        regions.find(image(tmp_path / "elsewhere" / "cats" / "7.jpg", 81), SPEC, "any")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InnersightError, match="no masks in this folder"):
        read_regions(tmp_path / "empty")
