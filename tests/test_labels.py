"""Which class a label or folder stands for, the same for every command, and always in words."""

import itertools
import os
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import image, tiny
from PIL import Image as PILImage
from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets import ImageFolder

import innersight as ins
from innersight.inputs import class_of, entries
from innersight.inputs.labels import folder_label, label_notes
from innersight.model import Model
from innersight.study import Plan

NAMES = ("ash_tree", "birch", "cedar", "dogwood")


@pytest.fixture
def model() -> Model:
    base = tiny("in-place")
    return ins.load(base.net, input=base.input, labels=NAMES)


def tree(root: Path, *folders: str) -> Path:
    for i, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        image(i).pil.save(root / folder / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("label", "number"),
    [
        ("birch", 1), ("Birch", 1), ("ASH TREE", 0), ("Ash-tree", 0), (" ash  tree ", 0), (2, 2), ("3", 3), ("4", -1),
        (-1, -1), ("²", -1), ("9" * 5000, -1), ("", -1), ("oak", -1), (None, -1),
    ],
)  # fmt: skip
def test_a_label_names_a_class(label: Any, number: int) -> None:
    assert class_of(label, NAMES) == number


def test_spellings_that_two_classes_share_name_neither() -> None:
    assert [class_of(label, ("Lion", "lion")) for label in ("Lion", "lion", "LION")] == [0, 1, -1]
    # macOS writes names of files with the accents apart.
    assert class_of(unicodedata.normalize("NFD", "Zoë"), ("max", "Zoë")) == 1


def test_names_come_before_numbers() -> None:
    assert folder_label(["2", "birch"], [], NAMES) == "birch"
    assert folder_label(["2", "old"], ["birch"], NAMES) == "birch"
    assert folder_label(["2", "old"], ["3"], NAMES) == "2"
    assert folder_label(["s1", "old"], ["3"], NAMES) == "s1"
    assert folder_label([], ["3"], NAMES) is None
    # Of a network whose classes are named by numbers these are the names.
    assert folder_label(["s1", "7"], [], tuple(map(str, range(10)))) == "7"


def test_folders_inside_the_folders_of_classes(model: Model, tmp_path: Path) -> None:
    found = ins.predict(model, tree(tmp_path, "birch/session 1", "cedar/2024/may", "cedar", "birch/2"))
    assert found.ground_truth == (1, 1, 2, 2)
    assert found.notes == ("labels are folder names: 4 images, birch, cedar",)


def test_folders_named_otherwise_are_told(model: Model, tmp_path: Path) -> None:
    found = ins.predict(model, tree(tmp_path, "Ash Tree", "1", "7", "oak", "bich"))
    assert sorted(zip((Path(name).stem for name in found.names), found.ground_truth, strict=True)) == [
        ("0", 0), ("1", 1), ("2", -1), ("3", -1), ("4", -1),
    ]  # fmt: skip
    strange, numbered, spelled = found.notes
    assert strange.startswith("3 images lie in folders named 7, bich, oak, which are not classes of the network")
    assert numbered == "folders are read as class numbers, counted from 0: 1 is birch"
    assert spelled == "folders are matched to classes in spite of another spelling: Ash Tree is ash_tree"


def test_no_folder_is_a_class_and_the_notes_say_so(model: Model, tmp_path: Path) -> None:
    found = ins.predict(model, tree(tmp_path, "brich", "ceder"))
    assert found.summary() is None
    assert found.notes == (
        "2 images lie in folders named brich, ceder, which are not classes of the network, and are treated as "
        "unlabelled; no image has a label that is a class; did you mean birch?",
    )


def test_numbers_where_nobody_stated_names(tmp_path: Path) -> None:
    base = tiny("in-place")
    found = ins.predict(ins.load(base.net, input=base.input), tree(tmp_path, "0", "3"))
    assert found.ground_truth == (0, 3)
    assert found.notes == ("folders are read as class numbers, counted from 0: 0 is class 0, 3 is class 3",)


def test_a_file_or_folder_given_by_itself(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, "birch", "1", "cedar/old")
    assert ins.predict(model, root / "birch").ground_truth == (1,)
    assert ins.predict(model, root / "birch" / "0.png").ground_truth == (1,)
    assert ins.predict(model, root / "cedar" / "old" / "2.png").ground_truth == (2,)
    assert ins.predict(model, ins.load_image(root / "cedar" / "old" / "2.png")).ground_truth == (2,)
    # A folder named by a number is one among others only.
    assert ins.predict(model, root / "1").ground_truth == (-1,)
    assert ins.predict(model, root / "1" / "1.png").notes == ()
    monkeypatch.chdir(root / "birch")
    for path in ("0.png", ".", "*.png"):
        assert ins.predict(model, path).ground_truth == (1,)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links(model: Model, tmp_path: Path) -> None:
    root = tree(tmp_path / "real", "birch", "cedar")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cedar").symlink_to(root / "birch")
    (tmp_path / "current").symlink_to(root / "cedar")
    # As they are called where they are found; only what was named itself is followed.
    assert ins.predict(model, tmp_path / "links").ground_truth == (2,)
    assert ins.predict(model, tmp_path / "current").ground_truth == (2,)


COMMANDS: dict[str, Callable[[Model, Path, Path], Any]] = {
    "predict": lambda model, folder, out: ins.predict(model, folder),
    "explain": lambda model, folder, out: ins.explain(model, folder),
    "scan": lambda model, folder, out: ins.scan(model, folder, ["relu2"]),
    "study": lambda model, folder, out: ins.study(model, folder, out, plan=PLAN),
}
PLAN = Plan(units=0, steps=1, trust=0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_the_same(command: str, model: Model, tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "Ash Tree", "2", "oak", "birch/x")
    wanted = (
        "1 image lies in a folder named oak, which is not a class of the network, and is treated as unlabelled; "
        "choose from: ash_tree, birch, cedar, dogwood",
        "folders are read as class numbers, counted from 0: 2 is cedar",
        "folders are matched to classes in spite of another spelling: Ash Tree is ash_tree",
        "labels are folder names: 1 image, birch",
    )
    assert COMMANDS[command](model, folder, tmp_path / "out").notes == wanted


def test_a_mistake_is_explained_wherever_its_label_stands(model: Model, tmp_path: Path) -> None:
    (row,) = ins.predict(model, image(0)).logits
    wrong = NAMES[(int(row.argmax()) + 1) % 4]
    root = tree(tmp_path, f"{wrong}/deep/down")
    (entry,) = ins.explain(model, root, methods=["gradcam"]).entries
    assert entry.rival is not None
    images = [(np.asarray(PILImage.open(root / wrong / "deep" / "down" / "0.png")), wrong)]
    assert ins.explain(model, images, methods=["gradcam"]).entries[0].rival == entry.rival


def test_folders_inside_of_tar_files(model: Model, tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "birch/a", "Ash Tree", "2", "oak")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        tar.add(root, ".")
    whole, packed = ins.predict(model, root), ins.predict(model, tmp_path / "all.tar")
    assert sorted(packed.ground_truth) == sorted(whole.ground_truth) == [-1, 0, 1, 2]
    assert set(packed.notes) == set(whole.notes)


def test_all_orders_give_the_same_notes() -> None:
    counts = {("Ash Tree", 0): 2, ("1", 1): 1, ("oak", -1): 3, ("cedar", 2): 1}
    folders = {label for label, _ in counts}
    wanted = set(label_notes(counts, folders, NAMES))
    assert len(wanted) == 4
    for order in itertools.permutations(counts.items()):
        assert set(label_notes(dict(order), folders, NAMES)) == wanted
    # What a data set calls them is meant so.
    assert len(list(label_notes(counts, (), NAMES))) == 1


def test_labels_of_parts_of_data_sets(tmp_path: Path) -> None:
    whole = ImageFolder(tree(tmp_path, "zebra", "birch"))
    for part in (whole, Subset(whole, [1, 0]), ConcatDataset([Subset(whole, [0]), whole])):
        assert {entry.label for entry in entries(part)} == {"birch", "zebra"}
