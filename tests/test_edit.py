"""Edits of an image: what the pages show live is what the library and a run by hand give; nothing is left behind."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import batch, image, tiny
from serving import Serving, ask, call
from torch import Tensor, nn
from untouched import dishevel, unchanged

import innersight as ins
from innersight import toons
from innersight.ablation import ablate
from innersight.ablation.edit import Edits
from innersight.concepts import read_concepts
from innersight.errors import InnersightError
from innersight.heatmaps.blur import blurred
from innersight.image import as_image
from innersight.model import Model
from innersight.study import Plan, study
from innersight.study.panels.edit import EditRequest, cells
from innersight.trust.imputers import imputers
from innersight.web.app import create_app


def edits(model: Model, x: Tensor) -> Edits:
    stream = torch.Generator().manual_seed(0)
    return Edits(model, x, {name: imputers[name](x, stream) for name in ("blur", "mean")})


def by_hand(model: Model, x: Tensor, off: dict[str, list[int]]) -> Tensor:
    """Run the network with hooks of our own that set units of convolutional layers to 0."""

    def hook(units: list[int]) -> Callable[..., Tensor]:
        def set_to_zero(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            kept = torch.ones(output.shape[1])
            kept[units] = 0
            return output * kept[:, None, None]

        return set_to_zero

    with ExitStack() as stack, torch.no_grad():
        for layer, units in off.items():
            module = model.net.get_submodule(layer)
            stack.callback(module.register_forward_hook(hook(units)).remove)
        found: Tensor = model.net.eval()(x[None])[0]
        return found


@pytest.mark.parametrize(
    ("name", "layers"), [("in-place", ("conv1", "relu1", "conv2")), ("dense", ("stem", "step1", "step3"))]
)
def test_units_of_one_and_of_several_layers(name: str, layers: tuple[str, ...]) -> None:
    model = tiny(name)
    x = batch(model, 1)[0]
    made = edits(model, x)
    plain = made.logits({})
    assert torch.allclose(plain, by_hand(model, x, {}), atol=1e-6)
    for off in (
        {layers[0]: [1]},
        {layers[1]: [0, 2]},
        {layers[0]: [1], layers[1]: [0, 3]},
        {n: [2, 1] for n in layers},
    ):
        found = made.logits(off)
        assert torch.allclose(found, by_hand(model, x, off), atol=1e-5)
        assert not torch.allclose(found, plain, atol=1e-4)
    # Again from what is remembered, and the empty edit is the prediction.
    assert torch.allclose(made.logits({layers[0]: [1]}), by_hand(model, x, {layers[0]: [1]}), atol=1e-5)
    assert torch.equal(made.logits({layers[0]: []}), plain)


def test_one_unit_is_what_ablate_measures() -> None:
    model = tiny("in-place")
    picture = image(3)
    made = edits(model, picture.tensor(model.input))
    truth = ablate(model, picture, "conv1")
    for unit in range(6):
        change = made.logits({"conv1": [unit]}) - made.logits({})
        assert torch.allclose(change, truth.change[0, unit], atol=1e-5)


@pytest.mark.parametrize("fill", ["blur", "mean"])
def test_a_hidden_region_is_a_masked_run(fill: str) -> None:
    model = tiny("in-place")
    x = image(4).tensor(model.input)
    hidden = torch.zeros(x.shape[1:], dtype=torch.bool)
    hidden[3:9, 5:14] = True
    other = blurred(x[None])[0] if fill == "blur" else x.mean((1, 2))[:, None, None].expand_as(x)
    masked = x.clone()
    masked[:, 3:9, 5:14] = other[:, 3:9, 5:14]
    made = edits(model, x)
    assert torch.allclose(made.logits({}, hidden, fill), by_hand(model, masked, {}), atol=1e-5)
    assert torch.allclose(made.logits({"conv2": [1]}, hidden, fill), by_hand(model, masked, {"conv2": [1]}), atol=1e-5)
    # What was remembered of the whole image is not taken for the masked one, nor one filling for the other.
    assert torch.allclose(made.logits({"conv2": [1]}), by_hand(model, x, {"conv2": [1]}), atol=1e-5)
    both = [made.logits({"conv2": [1]}, hidden, one) for one in ("blur", "mean")]
    assert not torch.allclose(*both, atol=1e-4)


def test_the_network_is_left_as_it_was() -> None:
    model = tiny("in-place")
    made = edits(model, batch(model, 1)[0])
    dishevel(model)
    hidden = torch.ones(model.input.height, model.input.width, dtype=torch.bool)
    with unchanged(model):
        made.logits({"conv1": [1], "conv2": [0]}, hidden)
    with unchanged(model), pytest.raises(InnersightError, match="no layer"):
        made.logits({"nowhere": [1]})


def test_a_pixel_is_hidden_by_the_cell_in_which_its_middle_lies() -> None:
    assert cells(["10", "01"], (4, 6)).int().tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[0, 0, 0, 1, 1, 1]] * 2
    assert cells(["100"], (1, 5)).int().tolist() == [[1, 1, 0, 0, 0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("edited") / "s"
    images = [toons.draw(name, 5).pixels for name in toons.CLASSES[:3]]
    plan = Plan(layers=("stage4",), units=0, steps=1, methods=("gradcam",), concepts=4, trust=0)
    study(ins.load("toon", device="cpu"), images, out, plan=plan).render()
    return out


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with Serving(create_app(folder, model=ins.load("toon", device="cpu"))) as number:
        yield number


def test_the_server_returns_the_prediction_of_the_edited_image(port: int, folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*"))
    model = ins.load("toon", device="cpu")
    picture = toons.draw(toons.CLASSES[1], 5).pixels
    said = ins.predict(model, [picture])
    off = ["stage3:7", "stage4~nmf:1", "stage3:9"]
    found = ask(port, "POST", "/api/edit", {"image": "p1", "off": off, "hidden": ["1000", "0000"], "fill": "mean"})
    rows = {row["number"]: row for row in found["classes"]}
    top = said.top(0)
    assert [rows[one["class"]]["before"] for one in top] == pytest.approx([one["probability"] for one in top], abs=1e-5)
    # By hand: the quarter of the upper half in the mean colour, two units off, a concept taken out.
    x = as_image(picture).tensor(model.input)
    masked = x.clone()
    masked[:, : x.shape[1] // 2, : x.shape[2] // 4] = x.mean((1, 2))[:, None, None]
    (layer,) = read_concepts(folder).inserted()
    with torch.no_grad(), ExitStack() as stack:

        def units(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, [7, 9]] = 0
            return output

        def concept(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            vectors = output[0].flatten(1).T
            strength = layer.coder.encode(vectors)[:, 1]
            return output - torch.einsum("n,u->un", strength, layer.directions[1]).view_as(output[0])[None]

        stack.callback(model.net.get_submodule("stage3").register_forward_hook(units).remove)
        stack.callback(model.net.get_submodule("stage4").register_forward_hook(concept).remove)
        logits = model.net.eval()(masked[None])[0]
    for number, row in rows.items():
        assert row["logit_after"] == pytest.approx(float(logits[number]), abs=1e-3)
        assert row["after"] == pytest.approx(float(logits.softmax(0)[number]), abs=1e-4)
    assert int(logits.argmax()) in rows
    assert [sentence.split(":")[0] for sentence in found["done"][:2]] == ["stage3", "stage4~nmf"]
    assert "set to 0" in found["done"][0]
    assert "taken out of stage4" in found["done"][1]
    assert "12.5% of what the network sees was filled with the mean colour of the image" in found["done"][2]
    # Nothing of it is kept.
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"image": "p9"}, 404, "no image 'p9'"),
        ({"image": "p0", "off": ["stage9:1"]}, 404, "no layer 'stage9'"),
        ({"image": "p0", "off": ["stage3:9999"]}, 404, "no unit 9999"),
        ({"image": "p0", "off": ["stage3"]}, 404, "is no unit"),
        ({"image": "p0", "off": ["class:ambra"]}, 404, "is no unit"),
        ({"image": "p0", "hidden": ["10", "1"]}, 404, "same number of cells"),
        ({"image": "p0", "hidden": ["12"]}, 422, "hidden"),
        ({"image": "p0", "hidden": ["0" * 65]}, 422, "hidden"),
        ({"image": "p0", "hidden": ["0"] * 65}, 422, "hidden"),
        ({"image": "p0", "off": ["stage3:1"] * 300}, 422, "off"),
        ({"image": "p0", "fill": "noise"}, 422, "fill"),
        ({"image": "p0", "more": 1}, 422, "more"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(port: int, body: dict[str, Any], status: int, why: str) -> None:
    found, _, text = call(port, "POST", "/api/edit", body)
    assert found == status
    assert why in json.loads(text)["detail"]


def test_while_a_job_runs_the_edit_says_so(folder: Path) -> None:
    from innersight.web.workers import BusyError, Inside

    worker = Inside(folder, ins.load("toon", device="cpu"))
    started, go = threading.Event(), threading.Event()

    def progress(_line: dict[str, Any]) -> None:
        started.set()
        go.wait(60)

    from innersight.study.panel import parse_request

    wanted = parse_request({"kind": "heatmaps", "image": "p0", "methods": ["saliency"]})
    job = threading.Thread(target=worker.run, args=(wanted, progress, threading.Event()))
    job.start()
    assert started.wait(60)
    with pytest.raises(BusyError, match="is computing"):
        worker.edit(EditRequest(image="p0"))
    go.set()
    job.join()
    assert worker.edit(EditRequest(image="p0"))["done"] == []
