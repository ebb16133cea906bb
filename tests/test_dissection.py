from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

import innersight as ins
from innersight import terminal
from innersight.cli import app
from innersight.dissection import Dissection
from innersight.dissection.shuffles import corrected
from innersight.dissection.thresholds import ERROR, FINE, Thresholds
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.scan import buckets
from innersight.toons import PARTS, draw, write

CAST = ("elke", "gilda", "bosk")


class Near(nn.Module):
    """One unit for each colour: how near every pixel is to it, 0 beyond a distance."""

    def __init__(self, colours: Tensor) -> None:
        super().__init__()
        self.register_buffer("colours", colours)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(0.02 - ((x[:, None] - self.colours[None, :, :, None, None]) ** 2).sum(2))


class Detector(nn.Module):
    def __init__(self, colours: Tensor) -> None:
        super().__init__()
        self.near = Near(colours)
        self.head = nn.Linear(len(colours), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.near(x).mean((2, 3)))


class Hairs:
    """Toons of three characters whose hair is a part of its own for each."""

    def __init__(self, each: int) -> None:
        self.toons = [draw(name, 500 + i, size=48) for name in CAST for i in range(each)]

    def __len__(self) -> int:
        return len(self.toons)

    def __getitem__(self, number: int) -> dict[str, Any]:
        toon = self.toons[number]
        masks = {f"{name} hair": toon.mask("hair") & (name == toon.name) for name in CAST}
        return {"image": toon.pixels, "label": toon.name, "masks": {**masks, "mouth": toon.mask("mouth")}}


def hair_colour(toons: Hairs, name: str) -> Tensor:
    pixels = np.concatenate([toon.pixels[toon.mask("hair")] for toon in toons.toons if toon.name == name])
    return torch.from_numpy(np.median(pixels, 0) / 255).float()


@pytest.fixture(scope="module")
def planted() -> Dissection:
    toons = Hairs(12)
    nowhere = torch.tensor([9.0, 9.0, 9.0])
    colours = torch.stack([*(hair_colour(toons, name) for name in CAST), nowhere])
    model = ins.load(Detector(colours), input=ins.InputSpec(48, 48))
    return ins.dissect(model, toons, layers=["near"], quantile=0.02)


def test_a_detector_of_a_hair_colour_is_labelled_so(planted: Dissection) -> None:
    assert planted.parts == (*(f"{name} hair" for name in CAST), "mouth")
    for unit, name in enumerate(CAST):
        row = planted.row("near", unit)
        assert row["label"] == f"{name} hair", row
        assert row["p"] <= 0.01
        assert row["interval"][0] < row["overlap"] < row["interval"][1]
    assert planted.label("near", 3) is None
    assert planted.row("near", 3)["overlap"] == 0
    assert planted.summary()["near"] == {
        "units": 4, "grid": [48, 48], "labelled": 3, "parts": {f"{name} hair": 1 for name in CAST},
    }  # fmt: skip
    assert planted.rank("gilda hair", 1)[0]["unit"] == 1
    with pytest.raises(InnersightError, match="did you mean gilda hair"):
        planted.rank("gilda hare")


def test_batches_and_threads_change_nothing(planted: Dissection) -> None:
    again = ins.dissect(planted.model, Hairs(12), layers=["near"], quantile=0.02, batch=7, workers=0)
    for kind in ("threshold", "share", "overlap", "p"):
        first, second = (getattr(one.layers["near"], kind).nan_to_num(9) for one in (planted, again))
        assert torch.equal(first, second), kind
    assert torch.allclose(again.layers["near"].low, planted.layers["near"].low, atol=1e-6)
    assert torch.equal(again.area, planted.area)


def test_masks_of_other_images_give_no_labels(planted: Dissection) -> None:
    class Shuffled(Hairs):
        order = torch.randperm(36, generator=torch.Generator().manual_seed(3)).tolist()

        def __getitem__(self, number: int) -> dict[str, Any]:
            return {**super().__getitem__(number), "masks": super().__getitem__(self.order[number])["masks"]}

    found = ins.dissect(planted.model, Shuffled(12), layers=["near"], quantile=0.02, min_overlap=0)
    assert found.summary()["near"]["labelled"] == 0
    assert float(found.layers["near"].p.nan_to_num(1).min()) > 0.05


def test_false_labels_are_as_rare_as_stated_and_true_ones_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    tested, false = torch.ones(6, 3, dtype=torch.bool), 0
    for seed in range(100):
        # Maps and masks that share their place in the image, and nothing else.
        middle = torch.ones(3, 3).mul(0.5)
        maps = (torch.rand(20, 6, 3, 3, generator=generator) < middle).to(torch.uint8) * 255
        masks = (torch.rand(20, 3, 3, 3, generator=generator) < middle).to(torch.uint8) * 255
        false += bool((corrected([maps], masks, [tested], shuffles=99, seed=seed)[0] < 0.05).any())
    assert false <= 11  # 5 expected; more than 11 in one of 200 such tests
    maps[:, 2] = masks[:, 1]
    p = corrected([maps], masks, [tested], seed=1)[0]
    assert p[2, 1] == pytest.approx(0.001)
    assert p.flatten().argmin() == 7
    assert (p < 0.05).sum() == 1
    tested[2, 1] = False
    assert corrected([maps], masks, [tested])[0][2, 1].isnan()


def test_nothing_to_test_is_no_error() -> None:
    maps, masks = (torch.zeros(9, n, 12, 12, dtype=torch.uint8) for n in (3, 2))
    (p,) = corrected([maps], masks, [torch.zeros(3, 2, dtype=torch.bool)])
    assert p.shape == (3, 2)
    assert bool(p.isnan().all())


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_thresholds(size: float) -> None:
    values = torch.cat([torch.randn(1000), torch.randn(1000).exp() * 40, torch.zeros(500)]).view(1, 1, 50, 50) * size
    activation = torch.cat([values, values.relu(), -values.abs(), torch.zeros_like(values)], 1)
    thresholds = Thresholds(4, torch.device("cpu"))
    for part in activation.repeat(4, 1, 1, 1).split(3):
        thresholds.add(part)
    for top in (0.001, 0.005, 0.3, 0.9):
        exact = torch.quantile(activation.flatten(2)[0].double(), 1 - top, dim=1)
        assert torch.allclose(thresholds.above(top).double(), exact, rtol=2 * ERROR, atol=1e-6 * size), top
    broken = activation[:, :1].clone()
    broken[0, 0, 3, 3] = torch.nan
    alone = Thresholds(1, torch.device("cpu"))
    alone.add(broken)
    assert alone.left_out == 1
    assert alone.above(0.5).isinf().all()
    edges = buckets.edges(FINE)
    assert len(edges) == 2 * buckets.side(FINE) + 2
    assert (edges.diff() >= 0).all()


def pairs(tmp_path: Path, count: int = 3) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for home in (images, masks):
        home.mkdir(parents=True, exist_ok=True)
    (masks / "parts.json").write_text('{"0": null, "1": "left", "2": "ghost"}')
    for i in range(count):
        pil = image(i).pil
        pil.save(images / f"{i}.png")
        mask = np.zeros((pil.height, pil.width), np.uint8)
        mask[:, : pil.width // 2] = 1
        PILImage.fromarray(mask).save(masks / f"{i}.png")
    return images, masks


def test_folders_and_what_is_reported(tmp_path: Path) -> None:
    model = tiny("in-place")
    images, masks = pairs(tmp_path)
    (masks / "2.png").rename(masks / "spare.png")
    (images / "broken.png").write_bytes(b"no image")
    found = ins.dissect(model, images, masks, ["relu1"], quantile=0.1)
    assert found.images == 2
    assert len(found.skipped) == 2
    assert any("2.png: it has no mask" in line for line in found.skipped)
    assert any(note.startswith("ghost: on none of the 2 images") for note in found.notes)
    assert any(note == "1 masks belong to none of the images, such as 'spare'" for note in found.notes)
    assert found.parts == ("left", "ghost")
    assert float(found.area[0]) == pytest.approx(0.5, abs=0.03)

    def halves(name: str) -> dict[str, np.ndarray] | None:
        height, width = np.asarray(PILImage.open(name)).shape[:2]
        return {"left": np.broadcast_to(np.arange(width) < width // 2, (height, width))}

    by_function = ins.dissect(model, [images / "0.png", images / "1.png"], halves, ["relu1"], quantile=0.1)
    assert torch.equal(by_function.layers["relu1"].overlap[:, 0], found.layers["relu1"].overlap[:, 0])


def test_parts_too_large_and_too_small_are_noted(planted: Dissection) -> None:
    found = ins.dissect(planted.model, Hairs(4), layers=["near"], quantile=0.0005, min_overlap=0.04)
    assert any(
        "too large for a label, since a unit that responds at 0.05% of the locations" in note for note in found.notes
    )
    found = ins.dissect(planted.model, Hairs(4), layers=["near"], quantile=0.5, min_overlap=0.04)
    assert any("less than 0.04 of what a unit responds to" in note for note in found.notes)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"quantile": 0}, "quantile=0 is the share of locations"),
        ({"min_overlap": 1}, "min_overlap is 1 and alpha is 0.05"),
        ({"grid": 4}, "grid is 4 and batch is 32: give at least 12 and 1"),
        ({"layers": ["relu3"]}, "did you mean relu"),
        ({"layers": ["head"]}, "head has no grid"),
        ({"masks": None}, "masks are missing: give masks=FOLDER"),
        ({"masks": lambda name: [1]}, "its masks are a list; give a dict of part"),
        ({"masks": lambda name: {"hair": np.ones(3)}}, r"hair: float64 \(3,\) is not a mask; give booleans"),
        ({"masks": lambda name: {"hair": np.ones((3, 4), bool)}}, "the mask has 4x3 pixels and the image"),
        ({"masks": lambda name: {}}, "the masks of all 3 images are empty in what the network sees"),
        ({"masks": lambda name: None}, "it has no mask; none of 3 images has one"),
    ],
)
def test_errors(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    images, masks = pairs(tmp_path)
    with pytest.raises(InnersightError, match=said):
        ins.dissect(tiny("in-place"), images, **{"masks": masks, "layers": ["relu1"], **wrong})


def test_errors_of_folders_and_data_sets(tmp_path: Path) -> None:
    model = tiny("in-place")
    images, masks = pairs(tmp_path)
    PILImage.new("RGB", (30, 30)).save(tmp_path / "else.png")
    with pytest.raises(InnersightError, match=r"none of 1 images has one; masks are named like '0'"):
        ins.dissect(model, tmp_path / "else.png", masks, ["relu1"])
    (images / "more").mkdir()
    image(1).pil.save(images / "more" / "1.png")
    with pytest.raises(InnersightError, match="share one mask, '1'; put masks into subfolders"):
        ins.dissect(model, images, masks, ["relu1"])
    with pytest.raises(ImageError, match="no such file"):
        ins.dissect(model, tmp_path / "nothing.png", masks, ["relu1"])
    with pytest.raises(InnersightError, match=r"entry 0 of the data set has no 'masks' \(it has image\)"):
        ins.dissect(model, torch.utils.data.StackDataset(image=[image(0).pil]), layers=["relu1"])


def test_a_random_network_gets_hardly_any_labels_for_thin_parts() -> None:
    toons = Hairs(8)
    found = ins.dissect(ins.load("small:8?size=48"), toons, layers=["stage3", "stage4"])
    labelled = sum(row["labelled"] for row in found.summary().values())
    assert labelled <= 3, found.summary()


def test_saving_and_drawing(planted: Dissection, tmp_path: Path) -> None:
    document = json.loads(planted.save(tmp_path / "d.json").read_text())
    assert document["layers"]["near"][1]["label"] == "gilda hair"
    assert document["layers"]["near"][3]["p"] is None
    assert document["parts"].keys() == set(planted.parts)
    tensors = load_file(planted.save(tmp_path / "d.safetensors"))
    assert torch.equal(tensors["overlap.near"], planted.layers["near"].overlap)
    assert tensors["label.near"].tolist() == [0, 1, 2, -1]
    assert planted.save(tmp_path / "d.png").stat().st_size > 10_000
    assert planted._repr_html_().startswith("<img")
    texts = [
        text.get_text()
        for text in planted.figure(layer="near", units=[1, 3]).findobj(lambda one: hasattr(one, "get_text"))
    ]
    assert any(text.startswith("1: gilda hair") for text in texts)
    assert any(text.startswith("3: no part") for text in texts)
    assert "gilda hair 1" in terminal.dissection(planted)
    with pytest.raises(InnersightError, match="layer 'far' was not dissected"):
        planted.figure(layer="far")
    with pytest.raises(InnersightError, match="near has units 0-3, not 4"):
        planted.figure(layer="near", units=[4])


def test_the_command(tmp_path: Path) -> None:
    write(tmp_path / "toons", per_class=1, masks=tmp_path / "masks")
    out = tmp_path / "d.png"
    asked = ["dissect", "toon", str(tmp_path / "toons"), "-l", "stage2", "-o", str(out)]
    done = CliRunner().invoke(app, [*asked, "--masks", str(tmp_path / "masks"), "--quantile", "0.02"])
    assert done.exit_code == 0, done.output
    assert "stage2" in done.output
    assert out.stat().st_size > 1000
    as_json = CliRunner().invoke(app, [*asked[:5], "--masks", str(tmp_path / "masks"), "--json"])
    assert list(json.loads(as_json.stdout)["parts"]) == list(PARTS)
    inside = CliRunner().invoke(
        app, ["toons", str(tmp_path / "n"), "--per-class", "1", "--masks", str(tmp_path / "n/m")]
    )
    assert isinstance(inside.exception, InnersightError)
    for wrong, said in (([], "needs --masks FOLDER"), (["--clip", "x"], "belong together")):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, InnersightError)
        assert said in str(refused.exception)
