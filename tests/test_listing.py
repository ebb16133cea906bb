"""What is trained on: the same classes and pixels, whatever labelled images are given as."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from torch.utils.data import IterableDataset
from torchvision.datasets import ImageFolder
from train_fixture import QUICK, Said

from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.train import data, train
from innersight.train.listing import described, scan

pytestmark = pytest.mark.usefixtures("own_cache")
SPEC = InputSpec(16, 16, fit="squash")


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __init__(self, folder: Path) -> None:
        self.rows = [(file, file.parent.name) for file in sorted(folder.rglob("*.png"))]

    def __iter__(self) -> Any:
        for file, label in self.rows:
            with PILImage.open(file) as image:
                yield {"image": image.convert("RGB"), "label": label}


def packed(folder: Path, path: Path, name: str) -> Path:
    with tarfile.open(path, "w") as tar:
        tar.add(folder, name)
    return path


def forms(tree: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "folder": tree,
        "text": str(tree),
        "tar": packed(tree, tmp_path / "a.tar", "."),
        # The folder that was packed is no class.
        "tar of a folder": packed(tree, tmp_path / "b.tar", "some/photos"),
        "data set": ImageFolder(tree),
        "stream": Stream(tree),
        "list": [(np.asarray(PILImage.open(file)), label) for file, label in Stream(tree).rows],
    }


def test_every_form_is_the_same(tree: Path, tmp_path: Path) -> None:
    whole = data.decode(scan(tree), SPEC, report=Said())
    for form, images in forms(tree, tmp_path).items():
        found = data.decode(scan(images), SPEC, report=Said())
        assert found.labels == ("blue", "green", "red"), form
        assert found.counts() == {"blue": 12, "green": 12, "red": 24}
        for number in range(3):
            own, other = (one.pixels[one.rows[one.targets == number]] for one in (found, whole))
            assert sorted(map(bytes, own)) == sorted(map(bytes, other)), form
        assert not found.notes
        # The same pixels are known as the same.
        assert {pixels for _, pixels in found.contents} == {pixels for _, pixels in whole.contents}


def test_folders_inside_of_classes_and_beside_them(tree: Path) -> None:
    (tree / "red" / "session" / "green").mkdir(parents=True)
    (tree / "red" / "000.png").rename(tree / "red" / "session" / "green" / "000.png")
    PILImage.new("RGB", (8, 8)).save(tree / "loose.png")
    listing = scan(tree)
    assert listing.labels == ("blue", "green", "red")
    assert "red/session/green/000.png" in listing.files
    assert listing.classes[listing.files.index("red/session/green/000.png")] == 2
    assert listing.notes == ("left out, as they lie in no folder of a class, or have no label: 1",)


def test_a_validation_folder_goes_by_the_rule_of_labels(tree: Path, tmp_path: Path) -> None:
    val = tmp_path / "val"
    for folder in ("Red", "0", "green/more", "purple"):
        (val / folder).mkdir(parents=True)
        PILImage.new("RGB", (8, 8)).save(val / folder / "a.png")
    listing = scan(val, labels=("blue", "green", "red"))
    assert dict(zip(listing.files, listing.classes, strict=True)) == {
        "0/a.png": 0, "green/more/a.png": 1, "Red/a.png": 2,
    }  # fmt: skip
    assert [note.split(":")[0].split(",")[0] for note in listing.notes] == [
        "1 image lies in a folder named purple",
        "folders are read as class numbers",
        "folders are matched to classes in spite of another spelling",
    ]


def test_a_run_on_tar_files(tree: Path, tmp_path: Path) -> None:
    images, judges = forms(tree, tmp_path)["tar"], ImageFolder(tree)
    result = train(images, tmp_path / "run", val=judges, report=Said(), **{**QUICK, "epochs": 1})
    assert result.card.labels == ("blue", "green", "red")
    assert result.images == 48
    assert result.card.recipe["arguments"]["images"] == str(images)
    assert result.card.recipe["arguments"]["val"] == "ImageFolder"
    # They are the same images, and it says so.
    assert "48 of 48 are training images too" in result.summary()
    again = train(images, tmp_path / "other", report=Said(), **{**QUICK, "epochs": 1})
    assert again.card.metrics["counts"]["train"] == {"blue": 11, "green": 11, "red": 22}


def test_what_has_no_labels(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match="none of them has a label; training needs"):
        scan([np.zeros((8, 8, 3), np.uint8)] * 4)
    with pytest.raises(InnersightError, match="no images of the classes oak, fir"):
        scan(ImageFolder(tree), labels=("oak", "fir"))


def test_what_was_given_in_words(tree: Path) -> None:
    assert described(tree) == str(tree)
    assert described([tree, "b.tar"]) == f"{tree} b.tar"
    assert described(ImageFolder(tree)) == "ImageFolder"
