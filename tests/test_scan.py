from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from torch import Tensor, nn

from innersight.activations import compute
from innersight.address import Address
from innersight.errors import InnersightError
from innersight.image import ImageError, load_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.scan import Batching, Scan, scan
from innersight.sources import load

COUNT = 60
LAYERS = ("0", "2", "5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        base = rng.integers(0, 256, 3)
        pixels = np.clip(base + rng.normal(0, 50, (20, 24, 3)), 0, 255).astype(np.uint8)
        (folder / f"group{i % 3}").mkdir(exist_ok=True)
        PILImage.fromarray(pixels).save(folder / f"group{i % 3}" / f"{i:02}.png")
    return folder


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 7, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(7, 3),
    )
    return load(net, input=InputSpec(16, 16, fit="squash"))


@pytest.mark.parametrize("batch", [1, 7, 32, 100])
def test_top_is_a_full_sort(model: Model, folder: Path, batch: int) -> None:
    result = scan(model, folder, LAYERS, examples=5, batching=Batching(batch=batch))
    files = sorted(folder.rglob("*.png"))
    maps = compute(model, stack([load_image(file) for file in files], model.input), LAYERS)
    assert result.images == COUNT
    for layer, values in maps.items():
        tally = result.layers[layer]
        peaks = values.amax((2, 3))
        assert torch.allclose(tally.mean, values.double().mean((0, 2, 3)).float(), atol=1e-5)
        assert torch.equal(tally.positive, (peaks > 0).sum(0))
        assert tally.grid == values.shape[2:]
        for unit in range(values.shape[1]):
            order = sorted(range(COUNT), key=lambda i: -float(peaks[i, unit]))[:5]
            assert tally.value[unit, :5].tolist() == pytest.approx(peaks[order, unit].tolist(), abs=1e-5)
            found = result.examples(f"{layer}:{unit}")
            assert len(found) == int((peaks[order, unit] > 0).sum())
            for example, number in zip(found, order, strict=False):
                assert example.path == files[number]
                assert float(values[number, unit][example.location]) == pytest.approx(example.value, abs=1e-5)


def test_equal_peaks_keep_the_earlier_image(folder: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.zeros_(net[0].weight)
    nn.init.ones_(net[0].bias)
    model = load(net, input=InputSpec(8, 8, fit="squash"))
    files = sorted(folder.rglob("*.png"))
    for batch in (1, 9, 60):
        result = scan(model, folder, ["0"], examples=4, batching=Batching(batch=batch))
        assert [example.path for example in result.examples("0:1")] == files[:4]
        assert result.layers["0"].always_active.all()
        assert not result.layers["0"].dead.any()


def test_dead_units_have_no_examples(model: Model, folder: Path) -> None:
    with torch.no_grad():
        model.net[4].weight[2] = 0
        model.net[4].bias[2] = -1
    result = scan(model, folder, ["5"], examples=3)
    assert result.layers["5"].dead.tolist() == [unit == 2 or not result.examples(f"5:{unit}") for unit in range(7)]
    assert result.examples("5:2") == ()
    assert result.summary()["5"]["dead"] >= 1
    assert result.figure(layer="5", units=[2]).axes


def test_only_what_is_kept_stays_in_memory(model: Model, folder: Path) -> None:
    one, many = (
        scan(model, p, LAYERS, examples=1, batching=Batching(batch=4))
        for p in (sorted(folder.rglob("*.png"))[:8], folder)
    )
    for layer in LAYERS:
        assert one.layers[layer].value.shape == many.layers[layer].value.shape == (many.layers[layer].units, 2)
    used = {
        int(n)
        for tally in many.layers.values()
        for numbers in (tally.image, tally.low_image, tally.raw["bands/numbers"])
        for n in numbers.flatten()
    }
    assert many.features is not None
    assert used | set(many.features.numbers.tolist()) == set(many.records)


def test_broken_files_are_skipped_and_listed(model: Model, folder: Path, tmp_path: Path) -> None:
    good = sorted(folder.rglob("*.png"))[:3]
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(good[0].read_bytes()[:200])
    result = scan(model, [good[0], tmp_path, *good[1:], tmp_path / "absent.png"], ["2"])
    assert result.images == 3
    assert [Path(sentence.split(":")[0]).name for sentence in result.skipped] == [
        "cut.png",
        "empty.jpg",
        "text.png",
        "absent.png",
    ]
    with pytest.raises(ImageError, match="absent"):
        scan(model, tmp_path / "absent.png")
    with pytest.raises(ImageError, match="no images given"):
        scan(model, [])


def test_fewer_images_than_asked_for(model: Model, folder: Path) -> None:
    result = scan(model, sorted(folder.rglob("*.png"))[:2], LAYERS, examples=9)
    assert result.layers["2"].value.shape == (5, 2)
    assert torch.isfinite(result.layers["2"].value).all()


def test_one_pass_reads_layers_and_predictions(model: Model, folder: Path) -> None:
    files = sorted(folder.rglob("*.png"))[:3]
    scan(model, files, ["0", "2"])
    reached: list[Tensor] = []
    handle = model.net[4].register_forward_hook(lambda _m, _i, output: reached.append(output))
    result = scan(model, files, ["0", "2"])
    handle.remove()
    # What is measured of a network is measured anew, as it has a hook now; each time on other numbers of images.
    assert [len(output) for output in reached].count(3) == 1
    assert list(result.layers) == ["0", "2"]


def test_without_layers_those_of_the_story(model: Model, folder: Path) -> None:
    result = scan(model, folder)
    assert result.layers
    assert all(tally.grid != (1, 1) for tally in result.layers.values())


def test_wrong_names(model: Model, folder: Path) -> None:
    with pytest.raises(InnersightError, match="no layer"):
        scan(model, folder, ["nope"])
    with pytest.raises(InnersightError, match="examples=0: give 1 or more"):
        scan(model, folder, examples=0)
    result = scan(model, folder, ["2"])
    for address, message in (
        ("0:1", "was not scanned"),
        ("2:9", "has units 0-4"),
        ("2", "one unit"),
        ("2:0-3", "one unit"),
        ("class:1", "one unit"),
    ):
        with pytest.raises(InnersightError, match=message):
            result.examples(address)
    assert result.examples(Address("2", 1)) == result.examples("2:1")


def test_leaves_no_trace(model: Model, folder: Path) -> None:
    model.net.train()
    rng = torch.get_rng_state()
    scan(model, folder, ["2"])
    assert model.net.training
    assert torch.equal(rng, torch.get_rng_state())
    assert all(p.requires_grad and p.grad is None for p in model.net.parameters())
    assert not any(module._forward_hooks for module in model.net.modules())


@pytest.fixture
def result(model: Model, folder: Path) -> Scan:
    return scan(model, folder, LAYERS, examples=4)


def test_saved_result(result: Scan, tmp_path: Path) -> None:
    document = json.loads(result.save(tmp_path / "scan.json").read_text())
    assert document["images"] == COUNT
    assert [len(rows) for rows in document["layers"].values()] == [6, 5, 7]
    row = document["layers"]["2"][3]
    assert row["address"] == "2:3"
    assert 0 <= row["positive"] <= 1
    assert [e["value"] for e in row["examples"]] == [e.value for e in result.examples("2:3")]
    assert result.save(tmp_path / "scan.safetensors").exists()
    assert result.save(tmp_path / "scan.png").stat().st_size > 1000
    assert result._repr_html_().startswith("<img")


def test_figure_shows_the_units_asked_for(result: Scan) -> None:
    figure = result.figure(layer="2", units=[1, 3])
    columns = max(len(result.examples(f"2:{unit}")) for unit in (1, 3))
    assert [axis.get_title(loc="left") != "" for axis in figure.axes] == [
        column < len(result.examples(f"2:{unit}")) for unit in (1, 3) for column in range(columns)
    ]
    with pytest.raises(InnersightError, match="has units"):
        result.figure(layer="2", units=[5])
