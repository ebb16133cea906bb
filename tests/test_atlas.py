"""An atlas: cells hold the vectors that lie in them, count for classes what gradients say, and are kept in a study."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from torch import nn
from typer.testing import CliRunner

import innersight as ins
from innersight import vectors
from innersight.atlas import Atlas, AtlasOptions, estimate
from innersight.atlas.cells import cells_of, laid_out
from innersight.atlas.directions import whitened
from innersight.atlas.engine import SHOWN
from innersight.atlas.reading import read_again
from innersight.cli import app
from innersight.errors import InnersightError
from innersight.image import stack
from innersight.inputs import repeatable
from innersight.model import Model
from innersight.storage.store import Store
from innersight.vectors import VectorSample

QUICK: dict[str, Any] = {"grid": 4, "layout": "pca", "steps": 2, "size": 16}


def many(count: int) -> list[ins.Image]:
    return [image(i) for i in range(count)]


def made(model: Model, images: Any = None, layer: str = "conv2", **changes: Any) -> Atlas:
    return ins.atlas(model, many(12) if images is None else images, layer, **{**QUICK, **changes})


@pytest.fixture(scope="module")
def sample() -> tuple[Model, list[ins.Image], VectorSample]:
    model, images = tiny("in-place"), many(12)
    return model, images, vectors.sample(model, images, "conv2", count=300)


def test_cells_hold_the_vectors_that_lie_in_them() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.26, 0.74], [0.99, 0.0], [0.27, 0.51]])
    cells = cells_of(points, 4)
    # Row by row from the upper left: y says the row, x the column.
    assert cells.position.tolist() == [[0, 0], [0, 3], [2, 1], [3, 3]]
    assert cells.member.tolist() == [0, 3, 2, 1, 2]
    assert cells.count.tolist() == [1, 1, 2, 1]
    assert cells.mean(torch.tensor([[1.0], [2.0], [3.0], [4.0], [6.0]])).flatten().tolist() == [1, 4, 4.5, 2]


def test_a_layout_fills_the_square_and_keeps_the_directions_apart(
    sample: tuple[Model, list[ins.Image], VectorSample],
) -> None:
    for layout in ("pca", "tsne"):
        points = laid_out(sample[2], layout, 0)
        assert points.shape == (300, 2)
        assert torch.equal(points.amin(0), torch.zeros(2))
        assert torch.equal(points.amax(0), torch.ones(2))
        assert torch.equal(points, laid_out(sample[2], layout, 0))
    # Vectors are compared by their directions: their lengths change nothing.
    own = replace(sample[2], vectors=sample[2].vectors * torch.rand(300, 1).add(0.5))
    assert torch.allclose(laid_out(own, "pca", 0), laid_out(sample[2], "pca", 0), atol=1e-4)


def test_a_direction_is_whitened_by_the_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 5, generator=generator)
    own = torch.randn(20_000, 5, generator=generator) @ mixing + 3
    means = own[:3]
    values = own.double().numpy()
    covariance = np.cov(values.T)
    variance = np.trace(covariance) / 5
    shrunk = 0.5 * covariance + 0.5 * variance * np.eye(5)
    truth = np.linalg.solve(shrunk, (means.double().numpy() - values.mean(0)).T).T * variance**0.5
    assert np.allclose(whitened(means, own).numpy(), truth, rtol=1e-4)
    dead = torch.cat([own, torch.full((20_000, 1), 7.0)], 1)
    assert torch.allclose(whitened(dead[:3], dead)[:, :5], whitened(means, own), rtol=1e-3)
    assert not whitened(dead[:3], dead)[:, 5].any()


@pytest.mark.parametrize("net", ["in-place", "dense", "functional"])
def test_attribution_is_gradient_times_activation(net: str) -> None:
    model, images = tiny(net), many(5)
    layer = {"in-place": "conv1", "dense": "step2", "functional": "conv1"}[net]
    found = vectors.sample(model, images, layer, count=60)
    cropped = torch.arange(0, 60, 7)
    again = read_again(model, repeatable(images), found, [2, 0], cropped, lambda done: None)
    values: list[torch.Tensor] = []
    module, _ = model.call(layer)

    def keep(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        values.append(output)
        return output.clone()

    handle = module.register_forward_hook(keep)
    model.net.eval()
    logits = model.net(stack(images, model.input))
    handle.remove()
    own, (y, x) = torch.tensor(found.numbers)[found.image], found.location.unbind(1)
    for k, number in enumerate([2, 0]):
        (gradient,) = torch.autograd.grad(logits[:, number].sum(), values[-1], retain_graph=True)
        truth = (gradient.double() * values[-1].double()).sum(1)[own, y, x].float()
        assert truth.abs().max() > 1e-4
        assert torch.allclose(again.attribution[:, k], truth, atol=1e-5)
    assert again.crops.shape == (len(cropped), 80, 80, 3)


def test_attributions_of_a_linear_end_sum_to_the_logit() -> None:
    model, images = tiny("in-place"), many(3)
    found = vectors.sample(model, images, "relu2")
    again = read_again(model, repeatable(images), found, [1], torch.empty(0).long(), lambda done: None)
    sums = torch.zeros(3).index_add(0, found.image, again.attribution[:, 0])
    assert torch.allclose(sums, found.logits[:, 1] - model.net.head.bias[1].detach(), atol=1e-4)


def test_levels_average_the_vectors_of_their_cells(sample: tuple[Model, list[ins.Image], VectorSample]) -> None:
    model, images, drawn = sample
    found = made(model, images, vectors=300, classes=["0", 3])
    assert [level.grid for level in found.levels] == [2, 4, 8]
    assert found.classes == (model.labels[0], model.labels[3])
    again = read_again(model, repeatable(images), drawn, [0, 3], torch.empty(0).long(), lambda done: None)
    for level in found.levels:
        at = (found.points.double() * level.grid).long().clamp(max=level.grid - 1)
        assert int(level.count.sum()) == 300
        for i, (row, column) in enumerate(level.position.tolist()):
            inside = (at[:, 1] == row) & (at[:, 0] == column)
            assert int(inside.sum()) == int(level.count[i])
            assert torch.allclose(level.mean[i], drawn.vectors[inside].mean(0), atol=1e-5)
            assert torch.allclose(level.attribution[i], again.attribution[inside].mean(0), atol=1e-6)
            predicted = drawn.predicted[drawn.image[inside]]
            assert torch.allclose(level.share[i], torch.stack([(predicted == k).float().mean() for k in (0, 3)]))
        assert level.cell(*level.position[-1].tolist()) == len(level) - 1
    assert found.levels[0].patterns.shape[2:] == (16, 16)
    assert not found.levels[2].drawn


def test_examples_lie_in_their_cell_one_for_each_image(sample: tuple[Model, list[ins.Image], VectorSample]) -> None:
    model, images, drawn = sample
    found = made(model, images, vectors=300, drawn=0)
    place = {(int(drawn.image[v]), *drawn.location[v].tolist()): v for v in range(300)}
    numbers = {name: i for i, name in enumerate(drawn.names)}
    shown = [place[numbers[name], *at] for name, at in zip(found.crop_names, found.crop_location.tolist(), strict=True)]
    # The coarser levels show what the finest one shows too.
    assert set(found.levels[2].examples[found.levels[2].examples >= 0].tolist()) == set(range(len(shown)))
    for level, limit in zip(found.levels, SHOWN, strict=True):
        at = (found.points.double() * level.grid).long().clamp(max=level.grid - 1)
        for i, row in enumerate(level.examples.tolist()):
            own = [shown[k] for k in row if k >= 0]
            assert 1 <= len(own) <= limit
            assert all(at[v].flip(0).tolist() == level.position[i].tolist() for v in own)
            assert len({int(drawn.image[v]) for v in own}) == len(own)


def test_a_crop_shows_the_part_of_the_image_at_the_location() -> None:
    model = ins.load("toon")
    pixels = np.zeros((5, 96, 96, 3), np.uint8)
    pixels[:, :, 48:] = (240, 0, 0)
    pixels += np.arange(5, dtype=np.uint8)[:, None, None, None]
    found = ins.atlas(model, pixels, "stage4", grid=8, layout="pca", vectors=400, drawn=0)
    redness = [crop[..., 0].mean() for crop in found.crops]
    left = [red for red, (_, x) in zip(redness, found.crop_location.tolist(), strict=True) if x <= 2]
    right = [red for red, (_, x) in zip(redness, found.crop_location.tolist(), strict=True) if x >= 9]
    assert left
    assert right
    assert max(left) < 60
    assert min(right) > 200


def test_a_trace_finds_the_cells_that_an_image_came_from() -> None:
    model = tiny("in-place")
    found = made(model, many(3), vectors=10_000, grid=32, drawn=0)
    trace = found.trace(image(1))
    truth = ins.activations(model, image(1), "conv2").values["conv2"][0]
    level = found.levels[-1]
    assert trace.cells.shape == truth.shape[1:]
    unit = torch.nn.functional.normalize
    cosine = unit(level.mean, dim=1) @ unit(truth.flatten(1).T, dim=1).T
    assert torch.allclose(trace.cosine.flatten(), cosine.amax(0), atol=1e-5)
    assert torch.equal(cosine.gather(0, trace.cells.flatten()[None])[0].max(), cosine.max())


def test_a_layer_without_locations_has_an_atlas_of_whole_images() -> None:
    found = made(tiny("in-place"), layer="head")
    assert len(found.points) == 12
    assert any("no locations" in note for note in found.notes)
    assert any("12 vectors for a grid of 4 x 4" in note for note in found.notes)


def test_what_cannot_be_laid_out() -> None:
    model = tiny("in-place")
    with pytest.raises(InnersightError, match=r"1 vectors of conv2.*give more images"):
        made(model, many(1), vectors=1)
    with pytest.raises(InnersightError, match="has no class"):
        made(model, classes=["ambr"])
    with pytest.raises(InnersightError, match="grid=1: give 2 to 64"):
        made(model, grid=1)
    with pytest.raises(InnersightError, match=r"no layout 'tsn'.*tsne"):
        made(model, layout="tsn")
    with pytest.raises(InnersightError, match="drawn=4"):
        made(model, drawn=4)
    with pytest.raises(InnersightError, match=r"has no option 'vector'.*vectors"):
        made(model, vector=3)
    with torch.no_grad():
        model.net.conv2.weight.zero_()
    with pytest.raises(InnersightError, match="all have the same direction"):
        made(model)


def test_dead_units_are_stated() -> None:
    model = tiny("in-place")
    with torch.no_grad():
        model.net.conv2.weight[3].zero_()
    found = made(model)
    assert any("1 of the 8 units of conv2" in note for note in found.notes)
    assert found.levels[1].patterns.isfinite().all()


def test_images_that_change_meanwhile_end_it(tmp_path: Path) -> None:
    model = tiny("in-place")
    for i in range(6):
        image(i).pil.save(tmp_path / f"{i}.png")
    drawn = vectors.sample(model, tmp_path, "conv2", count=200)
    PILImage.new("RGB", (24, 24)).resize((40, 40)).save(tmp_path / "3.png")
    with pytest.raises(InnersightError, match=r"3\.png: changed while the atlas was made"):
        read_again(model, repeatable(tmp_path), drawn, [0], torch.empty(0).long(), lambda done: None)
    (tmp_path / "0.png").unlink()
    with pytest.raises(InnersightError, match=r"there is no image #5 any more: the data has fewer images"):
        read_again(model, repeatable(tmp_path), drawn, [0], torch.empty(0).long(), lambda done: None)


def test_an_interrupted_atlas_resumes_in_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = tiny("in-place"), many(12)
    whole = made(model, images)

    def stop(done: int, total: int, what: str) -> None:
        if list((tmp_path / "study" / "atlas" / "conv2").glob("*.safetensors")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(model, images, out=tmp_path / "study", progress=stop)
    kept = sorted((tmp_path / "study" / "atlas" / "conv2").iterdir())
    assert kept
    store = Store.open(tmp_path / "study")
    assert store.names() == ["atlas/conv2/places"]
    # What is kept is not computed again: the layout would fail, and a pattern of other pixels would show.
    monkeypatch.setattr(importlib.import_module("innersight.atlas.engine"), "laid_out", None)
    before = {path: path.stat().st_mtime_ns for path in kept}
    seen = []

    def look(done: int, total: int, what: str) -> None:
        seen.extend({path: path.stat().st_mtime_ns for path in kept if path.exists()}.items())

    found = made(model, images, out=tmp_path / "study", progress=look)
    assert set(seen) == set(before.items())
    for own, other in zip(found.levels, whole.levels, strict=True):
        assert torch.equal(own.patterns, other.patterns)
        assert torch.equal(own.attribution, other.attribution)
    assert store.names() == ["atlas/conv2"]
    assert not (tmp_path / "study" / "atlas" / "conv2").exists()


def test_the_study_of_another_network_is_refused(tmp_path: Path) -> None:
    model = tiny("in-place")
    ins.study(model, many(1), tmp_path / "study", plan=ins_plan())
    with pytest.raises(InnersightError, match="a study of another network"):
        made(tiny("dense"), layer="step2", out=tmp_path / "study")


def ins_plan() -> Any:
    from innersight.study import Plan

    return Plan(layers=("conv2",), units=0, trust=0, methods=("gradcam",), rivals=False)


def test_an_estimate_counts_the_cells_that_are_drawn(sample: tuple[Model, list[ins.Image], VectorSample]) -> None:
    model, images, _ = sample
    found = made(model, images)
    planned = estimate(model, images, "conv2", **QUICK)
    assert planned.cells == len(found.levels[0]) + len(found.levels[1])
    assert planned.images == 12
    assert planned.seconds > 0


def test_figures_of_every_kind(sample: tuple[Model, list[ins.Image], VectorSample], tmp_path: Path) -> None:
    model, images, _ = sample
    found = made(model, images, vectors=300)
    first, second = found.classes[:2] if len(found.classes) > 1 else (found.classes[0], found.classes[0])
    for name, drawing in (
        ("plain", {}), ("crops", {"show": "crops", "level": 8}), ("class", {"target": first}),
        ("less", {"target": first, "versus": second}), ("density", {"density": True}),
    ):  # fmt: skip
        path = found.save(tmp_path / f"{name}.png", **drawing)
        with PILImage.open(path) as drawn:
            assert drawn.width > 1000
    with pytest.raises(InnersightError, match="level 8 of this atlas is not drawn"):
        found.figure(level=8)
    with pytest.raises(InnersightError, match="versus= needs target="):
        found.figure(versus=first)
    with pytest.raises(InnersightError, match="level=5: this atlas has 2, 4, 8"):
        found.figure(level=5)
    assert "<img" in found._repr_html_()


def test_options_are_plain_data() -> None:
    options = AtlasOptions(vectors=50, per_image=2)
    assert AtlasOptions.from_json({**options.to_json(), "grid": 20}) == options


def test_classes_may_be_listed_in_one_text() -> None:
    model = tiny("in-place")
    assert made(model, classes="0,2", drawn=0).classes == (model.labels[0], model.labels[2])


def test_the_command_leaves_a_report_with_the_atlas(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for i in range(6):
        folder.mkdir(exist_ok=True)
        image(i).pil.resize((24, 24)).save(folder / f"{i}.png")
    words = ["atlas", "small:4?size=24", str(folder), "-l", "stage1", "--grid", "2", "--layout", "pca", "--steps", "1"]
    planned = CliRunner().invoke(app, [*words, "--estimate"])
    assert "patterns, 6 images" in planned.output, planned.output
    done = CliRunner().invoke(app, [*words, "--size", "16", "--out", str(tmp_path / "study")])
    assert done.exit_code == 0, done.output
    assert "trustworthiness of the layout" in done.output
    assert (tmp_path / "study" / "atlas.png").is_file()
    assert '"atlases":["stage1"]' in (tmp_path / "study" / "report.html").read_text()
