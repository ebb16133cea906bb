"""What can be asked of `explain`: targets, layers, one pass for all, and answers that say there is nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import image, tiny
from PIL import Image as PILImage
from torch import Tensor, nn
from torch.nn import functional as F

from innersight import tap, toons
from innersight.errors import InnersightError
from innersight.heatmaps import explain
from innersight.heatmaps.masked import batch_of
from innersight.heatmaps.request import methods
from innersight.image import as_image, load_image, stack
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources import load

NET = "in-place"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny(NET)


def gradient(model: Model, x: Tensor, score: object) -> Tensor:
    pixels = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(score(model.net(pixels)).sum(), pixels)  # type: ignore[operator]
    return found.abs().amax(1)


@pytest.mark.parametrize(
    ("asked", "score", "question", "unit"),
    [
        ({"target": "birch"}, lambda y: y[:, 1], "the requested class", "logits"),
        ({"target": 1, "versus": "cedar"}, lambda y: y[:, 1] - y[:, 2], "the requested class minus cedar", "logits"),
        (
            {"target": "birch", "versus": "cedar", "of": "probability"},
            lambda y: y.softmax(1)[:, 1] - y.softmax(1)[:, 2],
            "the requested class minus cedar",
            "probability",
        ),
        ({"target": "birch", "of": "probability"}, lambda y: y.softmax(1)[:, 1], "the requested class", "probability"),
        ({"target": lambda y: y.square().sum(1)}, lambda y: y.square().sum(1), "the function <lambda>", "<lambda>"),
    ],
)
def test_targets(model: Model, asked: dict, score: object, question: str, unit: str) -> None:
    images = [image(i) for i in range(3)]
    found = explain(model, images, methods=["saliency"], **asked)
    x = stack(images, model.input)
    truth = gradient(model, x, score)
    for i, entry in enumerate(found.entries):
        assert torch.allclose(entry.values, truth[i], atol=1e-7)
        assert entry.score == pytest.approx(float(score(model.net(x).detach())[i]), abs=1e-5)  # type: ignore[operator]
        assert entry.question == question
        assert entry.unit == f"{unit} per unit of input"


def test_the_runner_up_is_each_images_own(model: Model) -> None:
    images = [image(i) for i in range(4)]
    found = explain(model, images, versus="runner-up", methods=["saliency"])
    logits = model.net(stack(images, model.input)).detach()
    first, second = logits.topk(2, 1).indices.unbind(1)
    for i, entry in enumerate(found.entries):
        assert (entry.target, entry.rival) == (int(first[i]), int(second[i]))
        assert entry.score == pytest.approx(float(logits[i, first[i]] - logits[i, second[i]]), abs=1e-5)
        assert entry.question == f"the predicted class minus {model.labels[int(second[i])]}"


def test_a_mistake_is_explained_against_the_runner_up(model: Model, tmp_path: Path) -> None:
    predicted = model.net(stack([image(1)], model.input)).argmax(1).item()
    right, wrong = (model.labels[i] for i in (predicted, (predicted + 1) % 4))
    files = []
    for folder in (right, wrong, "elsewhere"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "a.png")
        image(1).pil.save(files[-1])
    found = explain(model, files, methods=["gradcam"]).entries
    assert [entry.rival is None for entry in found] == [True, False, True]
    assert all(entry.target == predicted for entry in found)
    assert explain(model, files[1], right, methods=["gradcam"]).entries[0].rival is None


def test_likeness_to_another_image(model: Model) -> None:
    found = explain(model, [image(1), image(2)], like=image(1), methods=["gradcam", "occlusion"], layers="conv2")
    with tap.untouched(model), torch.no_grad():
        x = stack([image(1), image(2)], model.input)
        means = tap.capture(model, x, ["relu2"]).activations["relu2"].mean((2, 3))
    scores = F.cosine_similarity(means, means[:1])
    assert [e.score for e in found.entries[::2]] == pytest.approx(scores.tolist(), abs=1e-5)
    assert found.entries[0].target is None
    assert found.entries[2].question == f"similarity to {image(1).name}"
    assert found.entries[2].unit == "cosine similarity"
    assert found.entries[2].values.any()
    assert found.figure().axes
    assert found.to_json()["heatmaps"][0]["target"] is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"versus": "larhc"}, "has no class 'larhc'"),
        ({"target": "birch", "versus": "birch"}, "is the class itself"),
        ({"of": "chance"}, "of='chance': choose logit or probability"),
        ({"like": 1, "target": "birch"}, "takes no class"),
        ({"target": lambda y: y, "versus": 1}, "the whole target"),
        ({"target": lambda y: y}, r"gave shape \(1, 4\)"),
        ({"target": lambda y: torch.zeros(len(y))}, "no gradient of the target reaches"),
        ({"layers": ["conv1", "conv7"]}, "did you mean conv"),
        ({"methods": ["legrad"]}, "has no self-attention"),
    ],
)
def test_what_cannot_be_asked(model: Model, asked: dict, why: str) -> None:
    if "like" in asked:
        asked = asked | {"like": image(2)}
    with pytest.raises(InnersightError, match=why):
        explain(model, image(1), **asked)


def test_one_forward_and_one_backward_serve_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    # The layers are told apart once for a network.
    explain(model, image(0), methods=["gradcam"])
    forwards, backwards = [], []
    real_logits, real_backward = Model.logits, torch.autograd._engine_run_backward
    monkeypatch.setattr(Model, "logits", lambda self, x: forwards.append(len(x)) or real_logits(self, x))
    monkeypatch.setattr(
        torch.autograd, "_engine_run_backward", lambda *a, **k: backwards.append(1) or real_backward(*a, **k)
    )
    names = [name for name in methods if methods.entry(name).reads in ("layer", "pixels")]
    quick = [name for name in names if name not in ("ablationcam", "reciprocam", "finercam")]
    assert len(quick) == 8
    found = explain(model, [image(i) for i in range(16)], methods=quick, layers=["pool1", "conv2", "relu2"])
    assert (forwards, len(backwards)) == ([16], 1)
    assert len(found.entries) == 16 * (2 + 6 * 3)
    assert found.layers == ("pool1", "conv2", "relu2")


def test_masks_of_all_methods_share_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    explain(model, image(0), methods=["gradcam"])
    sizes: list[int] = []
    real = Model.logits
    monkeypatch.setattr(Model, "logits", lambda self, x: sizes.append(len(x)) or real(self, x))
    names = ["scorecam", "occlusion", "rise", "sobol"]
    options = {"rise": {"max_samples": 256}, "sobol": {"max_samples": 4, "cells": 4}}
    together = explain(model, [image(1), image(2)], methods=names, options=options, layers="relu2")
    # The first is the pass over the images; only what is left at the end runs in less than a full batch.
    assert sizes[0] == 2
    assert sum(size < batch_of(model) for size in sizes[1:]) <= 3
    monkeypatch.undo()
    for name in names:
        alone = explain(
            model, image(2), methods=[name], options={k: v for k, v in options.items() if k == name}, layers="relu2"
        )
        own = next(e for e in together.entries if e.method == name and e.image.name == image(2).name)
        assert torch.allclose(own.values, alone.entries[0].values, atol=1e-6), name


def test_more_images_than_a_batch(model: Model) -> None:
    images = [image(i) for i in range(19)]
    together = explain(model, images, methods=["gradcam", "occlusion"])
    last = explain(model, images[-1], methods=["gradcam", "occlusion"])
    for a, b in zip(together.entries[-2:], last.entries, strict=True):
        assert torch.allclose(a.values, b.values, atol=1e-6)


def test_the_same_seed_the_same_map(model: Model) -> None:
    for name in ("rise", "sobol", "smoothgrad"):
        a, b, c = (explain(model, image(1), methods=[name], seed=seed).entries[0].values for seed in (0, 0, 1))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_an_unstable_map_is_said_to_be_so(model: Model) -> None:
    (entry,) = explain(model, image(1), methods=["rise"], options={"rise": {"max_samples": 8}}).entries
    assert entry.error is not None
    assert entry.verdict is not None
    assert "unstable" in entry.verdict
    (entry,) = explain(model, image(1), methods=["rise"], options={"rise": {"max_samples": 1024}}).entries
    assert entry.verdict is None


class Broken(nn.Module):
    """Outputs that are not numbers for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.mean((1, 2, 3), keepdim=True) > 0.5).float()
        return self.head(self.conv(x).mean((2, 3)) + (bright / (1 - bright) * 0).flatten(1))


def test_outputs_that_are_not_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Model(Broken().eval(), InputSpec(8, 8), ("a", "b", "c"), "broken", "a test")
    for name, value in (("dark", 30), ("bright", 250)):
        PILImage.new("RGB", (8, 8), (value, value, value + 5)).save(tmp_path / f"{name}.png")
    images = [load_image(tmp_path / f"{name}.png") for name in ("dark", "bright")]
    found = explain(model, images, methods=["gradcam", "rise"], versus="runner-up", layers="conv")
    assert [e.verdict is None for e in found.entries if e.method == "gradcam"] == [True, False]
    assert all("outputs are not numbers" in str(e.verdict) for e in found.entries[2:])
    assert found.save(tmp_path / "a.png").stat().st_size > 0


def test_a_shared_scale(model: Model) -> None:
    images = [image(1), image(2), image(3)]
    own, shared = (explain(model, images, methods=["gradcam"], shared=value) for value in (False, True))
    assert len({own.scale(entry).high for entry in own.entries}) == 3
    assert {shared.scale(entry).high for entry in shared.entries} == {max(own.scale(e).high for e in own.entries)}


def test_the_unit_is_printed_with_the_scale(model: Model) -> None:
    figure = explain(model, image(1), methods=["gradcam", "saliency"]).figure()
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[1].splitlines()[-1] == "logits"
    assert titles[2].splitlines()[-1] == "logits per unit of input"


def test_layers_of_a_method_are_told_apart(model: Model) -> None:
    found = explain(model, [image(1)], methods=["gradcam", "saliency"], layers=["conv2", "relu2"])
    assert sorted(found.tensors()) == ["gradcam/conv2/0", "gradcam/relu2/0", "saliency/0"]
    assert [row["layer"] for row in found.to_json()["heatmaps"]] == ["conv2", "relu2", None]
    assert any("gradcam at conv2" in axis.get_title() for axis in found.figure().axes)


def test_all_is_every_method_that_fits(model: Model) -> None:
    options = {"extremal-perturbation": {"steps": 2}}
    found = explain(model, image(1), methods="all", options=options)
    assert {entry.method for entry in found.entries} == {
        n for n in methods if methods.entry(n).reads not in ("attention", "captum")
    }
    assert len(found.left_out) == 3
    assert all("has no self-attention" in line for line in found.left_out)


def test_an_image_unlike_any_it_learned_is_said_to_be_doubtful() -> None:
    toon = load("toon")
    drawn = as_image(np.array(toons.draw("ambra", 400).pixels), name="ambra")
    noise = as_image(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8), name="noise")
    found = explain(toon, [drawn, noise], methods=["gradcam"])
    known, unknown = found.entries
    assert known.doubt is None
    assert unknown.doubt is not None
    assert unknown.doubt.startswith("Low confidence: no class has a probability above 0.")
    assert [row["doubt"] for row in found.to_json()["heatmaps"]] == [None, unknown.doubt]
    assert "Low confidence" in found.figure().axes[2].get_title()


def test_a_layer_without_places_is_refused(model: Model) -> None:
    with pytest.raises(InnersightError, match="no grid, so gradcam cannot show where; choose a layer before it"):
        explain(model, image(1), methods=["gradcam"], layers=["head"])
    assert explain(model, image(1), methods=["saliency"], layers=["head"]).entries


def test_a_network_that_cuts_its_gradient_is_said_to(model: Model) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).detach().mean((2, 3))

    cut = load(Cut(), input=InputSpec(12, 12, fit="squash"))
    with pytest.raises(InnersightError, match="no gradient of the target reaches"):
        explain(cut, image(1), methods=["gradcam"])
    assert explain(cut, image(1), methods=["occlusion"]).entries


def test_figures_show_contours_and_the_highest_part(model: Model) -> None:
    found = explain(model, image(1), methods=["gradcam"])
    (entry,) = found.entries
    rows, columns = entry.values.shape
    for view in ("smooth", "contours"):
        assert found.figure(view=view).axes
    shade = found.figure(view="top", top=0.25).axes[1].images[-1].get_array()
    shown = torch.from_numpy(np.asarray(shade)[..., 3] == 0)
    assert shown.shape == (rows, columns)
    assert abs(int(shown.sum()) - round(0.25 * rows * columns)) <= 1
    assert entry.values[shown].min() >= entry.values[~shown].max()
    with pytest.raises(InnersightError, match=r"view='contour'.*contours"):
        found.figure(view="contour")
    with pytest.raises(InnersightError, match=r"top=0: give a share"):
        found.figure(view="top", top=0)
