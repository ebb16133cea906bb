"""Units that go together and the mean maps of classes, as a scan shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image as PILImage
from safetensors.torch import load_file
from typer.testing import CliRunner

from innersight.activations import compute
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.image import load_image, stack
from innersight.model import Model
from innersight.scan import Batching, Scan, scan, settings

COUNT = 40
LAYERS = ("relu1", "relu2")
LABELS = ("ash", "birch", "cedar")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        label = LABELS[i % len(LABELS)]
        (folder / label).mkdir(exist_ok=True)
        pixels = np.clip(rng.integers(0, 256, 3) + rng.normal(0, 50, (30, 26, 3)), 0, 255).astype(np.uint8)
        PILImage.fromarray(pixels).save(folder / label / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny("in-place")


@pytest.fixture(scope="module")
def result(model: Model, folder: Path) -> Scan:
    return scan(model, folder, LAYERS, correlate=True, class_maps=True, batching=Batching(batch=7, shard=16))


def peaks(model: Model, folder: Path) -> dict[str, np.ndarray]:
    images = stack([load_image(file) for file in sorted(folder.rglob("*.png"))], model.input)
    return {name: maps.double().amax((2, 3)).numpy() for name, maps in compute(model, images, LAYERS).items()}


def test_correlations_within_and_across_layers(result: Scan, model: Model, folder: Path) -> None:
    own = peaks(model, folder)
    first, second = (own[name] for name in LAYERS)
    with np.errstate(invalid="ignore"):
        whole = np.corrcoef(first, second, rowvar=False)
    units = first.shape[1]
    np.testing.assert_allclose(result.correlation("relu1").numpy(), whole[:units, :units], atol=1e-5)
    np.testing.assert_allclose(result.correlation("relu2", "relu1").numpy(), whole[units:, :units], atol=1e-5)
    assert torch.equal(
        result.correlation("relu1", "relu2").nan_to_num(7), result.correlation("relu2", "relu1").T.nan_to_num(7)
    )


def test_units_that_are_alike_come_in_order(result: Scan) -> None:
    values = result.correlation("relu2")
    unit = int(values.isfinite().any(1).nonzero()[0])
    found = result.similar(f"relu2:{unit}", limit=100)
    numbers = [int(one.address.split(":")[1]) for one in found]
    assert unit not in numbers
    assert [one.correlation for one in found] == sorted((one.correlation for one in found), reverse=True)
    assert sorted(numbers) == [i for i in range(len(values)) if i != unit and bool(values[unit, i].isfinite())]
    across = result.similar(f"relu2:{unit}", layer="relu1", limit=2)
    assert [one.address.split(":")[0] for one in across] == ["relu1", "relu1"]
    assert across[0].correlation == pytest.approx(
        float(result.correlation("relu2", "relu1")[unit].nan_to_num(-2).max())
    )


def test_class_maps_are_means_over_the_images_of_a_class(result: Scan, model: Model, folder: Path) -> None:
    own = stack([load_image(file) for file in sorted((folder / "birch").glob("*.png"))], model.input)
    expected = torch.nn.functional.adaptive_avg_pool2d(compute(model, own, ["relu2"])["relu2"], 7).mean(0)
    for unit in range(len(expected)):
        found = result.class_map(f"relu2:{unit}", "birch")
        assert torch.allclose(found, expected[unit], atol=1e-5)
    assert torch.isnan(result.class_map("relu2:0", "dogwood")).all()


def test_what_was_not_asked_for_is_told(model: Model, folder: Path, result: Scan) -> None:
    plain = scan(model, folder, LAYERS)
    with pytest.raises(InnersightError, match=r"relu1 and relu2 were not correlated: scan with correlate=\[\('relu1'"):
        plain.correlation("relu1", "relu2")
    with pytest.raises(InnersightError, match="no class maps: scan images of the model's classes, with class_maps"):
        plain.class_maps("relu1:0")
    with pytest.raises(InnersightError, match="relu9"):
        scan(model, folder, LAYERS, correlate=[("relu1", "relu9")])
    with pytest.raises(InnersightError, match="no class 'oak'"):
        result.class_map("relu2:0", "oak")
    assert plain.to_json()["layers"]["relu1"][0]["similar"] is None
    assert plain.summary()["relu1"]["twins"] is None


def test_only_the_pairs_asked_for_are_kept(model: Model, folder: Path) -> None:
    found = scan(model, folder, LAYERS, correlate=[("relu2", "relu1")])
    assert found.correlation("relu1", "relu2").shape == (6, 8)
    with pytest.raises(InnersightError, match="relu1 and relu1 were not correlated"):
        found.similar("relu1:0")


def test_more_than_fits_is_refused(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LARGEST", 8 * (6 * 6 + 8 * 8 + 6 * 8) - 1)
    with pytest.raises(InnersightError, match=r"correlate would take .* name fewer layers"):
        scan(model, folder, LAYERS, correlate=True)
    scan(model, folder, ("relu2",), correlate=True)
    with pytest.raises(InnersightError, match="class_maps would take"):
        scan(model, folder, LAYERS, class_maps=True)


def test_a_scan_that_was_stopped_goes_on_with_the_same_bytes(model: Model, folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"correlate": True, "class_maps": True, "batching": Batching(shard=8, batch=4)}

    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(model, folder, LAYERS, out=tmp_path / "a", progress=stop, **options)
    with pytest.raises(InnersightError, match="other settings: c"):
        scan(model, folder, LAYERS, out=tmp_path / "a", batching=Batching(shard=8, batch=4))
    scan(model, folder, LAYERS, out=tmp_path / "a", **options)
    scan(model, folder, LAYERS, out=tmp_path / "b", **options)
    one, other = (next((tmp_path / name / "values").glob("scan-*")).read_bytes() for name in "ab")
    assert one == other


def test_figures_and_values(result: Scan, tmp_path: Path) -> None:
    drawn = result.correlation_figure()
    texts = [text.get_text() for axis in drawn.axes for text in axis.texts]
    assert "highest correlation" in texts
    values = result.correlation("relu2").clone().fill_diagonal_(-2).nan_to_num(-2)
    assert f"{float(values.max()):+.2f}" in texts
    assert "relu2" in result.correlation_figure(layer="relu2", other="relu1").get_suptitle()
    rows = result.class_figure(layer="relu2", units=[1, 3]).axes
    assert len(rows) == 2 * len(LABELS)
    assert {axis.get_title("left") for axis in rows} == set(LABELS)
    file = load_file(result.save(tmp_path / "scan.safetensors"))
    assert torch.equal(
        file["relu2/correlation/relu1"].nan_to_num(7), result.correlation("relu2", "relu1").nan_to_num(7)
    )
    assert file["relu2/class_maps"].shape == (4, 8, 7, 7)
    json.dumps(result.to_json(), allow_nan=False)


def test_command(folder: Path, tmp_path: Path) -> None:
    words = ["scan", "toon", str(folder), "-l", "stage4", "--correlate", "--out", str(tmp_path / "study")]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    assert "twins" in told.output
    assert (tmp_path / "study" / "correlation.png").exists()
    assert not (tmp_path / "study" / "class-maps.png").exists()
