"""Whatever images are given as, those who go through them see the same images, and keep none."""

import io
import os
import tarfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage

import innersight as ins
from innersight.errors import InnersightError
from innersight.image import Image, ImageError, load_image
from innersight.inputs.reading import Loaded
from innersight.model import Model
from innersight.patterns import interpretability

BOX = (0.1, 0.2, 0.6, 0.7)
COUNT = 20


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("in-place")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(COUNT):
        image(i).pil.save(folder / f"{i:02}.png")
    (folder / "99.png").write_bytes(b"no image")
    return folder


def tar_of(folder: Path) -> Path:
    with tarfile.open(folder.parent / "images.tar", "w") as tar:
        for file in sorted(folder.iterdir()):
            info = tarfile.TarInfo(file.name)
            info.size = file.stat().st_size
            tar.addfile(info, io.BytesIO(file.read_bytes()))
    return folder.parent / "images.tar"


def readable(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())[:COUNT]


WAYS: dict[str, Callable[[Path], Any]] = {
    "folder": lambda folder: folder,
    "files": lambda folder: sorted(folder.iterdir()),
    "generator": lambda folder: iter(sorted(folder.iterdir())),
    "tar": tar_of,
    "pairs": lambda folder: [(PILImage.open(file), "ash") for file in readable(folder)],
    "dicts": lambda folder: [{"image": file, "label": 0} for file in sorted(folder.iterdir())],
    "arrays": lambda folder: [np.asarray(PILImage.open(file)) for file in readable(folder)],
    "mixed": lambda folder: [load_image(folder / "00.png"), *readable(folder)[1:9], PILImage.open(folder / "09.png"),
                             *readable(folder)[10:]],
    "input": lambda folder: [load_image(file).tensor(tiny("in-place").input) for file in readable(folder)],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_give_the_same(way: str, model: Model, folder: Path, tmp_path: Path) -> None:
    def given() -> Any:
        return WAYS[way](folder)

    images = [load_image(file) for file in readable(folder)]
    whole, found = (ins.ablate(model, one, "relu2", to="mean") for one in (images, given()))
    assert torch.allclose(found.change, whole.change, atol=1e-5)
    assert len(found.images) == COUNT
    lost = found.skipped
    assert len(lost) == (way in ("folder", "files", "generator", "tar", "dicts"))
    assert all("99.png" in sentence for sentence in lost)

    first, second = (ins.connections(model, "relu2", one) for one in (images, given()))
    for link, other in zip(first.links, second.links, strict=True):
        assert torch.allclose(link.value, other.value, atol=1e-5)
    for one, other in zip(first.best, second.best, strict=True):
        assert one.number == other.number
    assert second.skipped == lost
    if way in ("tar", "input"):
        second.save(tmp_path / "a.png")

    alone, context = (ins.find(model, (image(40), BOX), images=one) for one in (images, given()))
    assert all(torch.allclose(context.score[name], alone.score[name], atol=1e-5) for name in alone.score)
    assert len(context.context) == COUNT
    assert len(context.shown) == 6
    assert context.skipped == lost
    assert [len(entry["like"]) for entry in context.to_json()["images"]] == [1] + [0] * COUNT
    if way in ("tar", "input"):
        context.save(tmp_path / "b.png")


def test_one_image_is_enough(model: Model, folder: Path) -> None:
    file = folder / "03.png"
    whole = ins.ablate(model, file, "relu2")
    for one in (load_image(file), PILImage.open(file), np.asarray(PILImage.open(file)), str(file), [file]):
        found = ins.ablate(model, one, "relu2")
        assert torch.allclose(found.change, whole.change, atol=1e-5)
        assert len(found.images) == 1


def test_a_folder_among_images_is_gone_through(model: Model, folder: Path) -> None:
    found = ins.ablate(model, [image(50), folder], "relu2")
    assert len(found.images) == COUNT + 1
    assert found.images[0] == image(50).name


def test_a_list_of_images_can_be_scanned(model: Model, folder: Path) -> None:
    whole = ins.scan(model, folder, ["relu2"])
    listed = ins.scan(model, [load_image(file) for file in readable(folder)], ["relu2"])
    assert whole.layers["relu2"].raw.keys() == listed.layers["relu2"].raw.keys()
    assert all(torch.equal(value, listed.layers["relu2"].raw[key]) for key, value in whole.layers["relu2"].raw.items())
    assert listed.crops("relu2:1", listed.examples("relu2:1", limit=2))


HOLDS_NONE: dict[str, Callable[[Model, Any], Any]] = {
    "ablate": lambda model, images: ins.ablate(model, images, "relu2"),
    "connections": lambda model, images: ins.connections(model, "relu2", images),
    "find": lambda model, images: ins.find(model, (image(40), BOX), images=images),
    "interpretability": lambda model, images: interpretability(model, "relu2", images, [0], tasks=2, explanations=1),
    "match": lambda model, images: ins.match(model, model, images, ["relu2"]),
    "patterns": lambda model, images: ins.patterns(model, "relu2:0", steps=1, images=images),
    "predict": lambda model, images: ins.predict(model, images),
    "scan": lambda model, images: ins.scan(model, images, ["relu2"]),
}


@pytest.mark.parametrize("what", HOLDS_NONE)
def test_no_image_outlives_its_batch(what: str, model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, lock = {}, threading.Lock()  # several threads read images
    for kind in (Image, Loaded):
        alive: weakref.WeakSet[Any] = weakref.WeakSet()
        count = counts[kind] = {"made": 0, "most": 0}

        def counted(
            self: Any, *args: Any, alive: Any = alive, count: Any = count, init: Any = kind.__init__, **named: Any
        ) -> None:
            init(self, *args, **named)
            with lock:
                alive.add(self)
                count["made"] += 1
                count["most"] = max(count["most"], len(alive))

        monkeypatch.setattr(kind, "__init__", counted)
    # One thread reads ahead.
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert HOLDS_NONE[what](model, [folder] * 12) is not None
    assert counts[Image]["made"] >= 12 * COUNT
    # The thread holds no image but the one it is at, and `find` those it draws.
    assert counts[Image]["most"] < 24
    # Of what is made of them, a batch and what was read ahead.
    assert counts[Loaded]["most"] < 160


def test_images_that_are_asked_about_are_no_context(model: Model, folder: Path) -> None:
    asked = f"{folder / '03.png'}@0.1,0.2,0.6,0.7"
    found = ins.find(model, asked, images=folder)
    rest = ins.find(model, asked, images=[file for file in readable(folder) if file.name != "03.png"])
    assert len(found.context) == COUNT - 1
    assert any("03.png: also given as a region" in sentence for sentence in found.skipped)
    assert found.order == rest.order
    assert ins.find(model, asked, images=folder / "03.png").order == ins.find(model, asked, images=None).order


def test_units_without_effect_are_named(folder: Path) -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[3] = 0
        model.net.conv2.bias[3] = -1
    notes = ins.connections(model, "relu2:2,3", folder).notes
    assert "relu2:3 has no effect on class" in notes
    assert not any("relu2:2" in note for note in notes)


def test_what_holds_no_images_is_told(model: Model, tmp_path: Path) -> None:
    said = "a folder without image files"
    with pytest.raises(ImageError, match=said):
        ins.ablate(model, tmp_path, "relu2", to="mean")
    with pytest.raises(ImageError, match=said):
        ins.connections(model, "relu2", tmp_path)
    assert said in ins.find(model, (image(40), BOX), images=tmp_path).skipped[0]
    with pytest.raises(InnersightError, match="has the parts 'train': give one of them"):
        ins.ablate(model, {"train": [image(1)]}, "relu2")
