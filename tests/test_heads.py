"""Every kind of output, through everything that reads class scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import InPlace, image
from torch import Tensor, nn
from torch.nn import functional as F

import innersight as ins
from innersight.errors import InnersightError
from innersight.heads import Head, multilabel, region, similarity
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.study import Plan
from innersight.trust import Protocol

SPEC = InputSpec(24, 24)


class Binary(InPlace):
    def __init__(self) -> None:
        super().__init__(classes=1)


class Embeds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))


class Segments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.classify = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"aux": x, "out": F.interpolate(self.classify(self.conv(x).relu()), scale_factor=2)}


def embedder() -> Model:
    torch.manual_seed(0)
    net = Embeds().eval()
    plain = ins.load(net, input=SPEC)
    with torch.no_grad():
        references = net(torch.stack([image(i).tensor(plain.input) for i in (1, 2)]))
    return ins.load(net, input=SPEC, head=similarity(references), labels=["first", "second"])


def test_a_single_logit_is_two_classes_that_exclude_each_other() -> None:
    net = Binary().eval()
    model = ins.load(net, input=SPEC)
    assert model.labels == ("no", "yes")
    said = ins.predict(model, [image(1), image(2)])
    with torch.no_grad():
        score = net(torch.stack([image(i).tensor(model.input) for i in (1, 2)]))[:, 0]
    assert torch.allclose(said.logits, torch.stack([-score, score], 1), atol=1e-6)
    assert torch.allclose(said.probabilities[:, 1], score.sigmoid())
    assert torch.allclose(said.probabilities.sum(1), torch.ones(2))
    yes, no = (ins.explain(model, image(1), target, ["gradcam"]).entries[0].values for target in ("yes", "no"))
    assert torch.allclose(yes, -no)
    assert yes.any()


class Chooses(InPlace):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = super().forward(x)
        return scores, scores.argmax(1)


def test_classes_chosen_already_do_no_harm_beside_the_scores() -> None:
    net = Chooses().eval()
    model = ins.load(net, input=SPEC)
    said = ins.predict(model, [image(1), image(2)])
    with torch.no_grad():
        scores, _ = net(torch.stack([image(i).tensor(model.input) for i in (1, 2)]))
    assert torch.allclose(said.logits, scores, atol=1e-6)


def test_labels_that_are_independent_need_not_sum_to_one() -> None:
    model = ins.load(InPlace().eval(), input=SPEC, head=multilabel())
    said = ins.predict(model, image(1))
    assert torch.allclose(said.probabilities, said.logits.sigmoid())
    assert ins.trust(model, image(1), ["gradcam"], protocol=Protocol(steps=2)).scores.shape == (1, 4)


def test_an_embedding_is_explained_by_its_likeness_to_references() -> None:
    model = embedder()
    said = ins.predict(model, [image(1), image(2)])
    assert torch.allclose(said.logits.diag(), torch.ones(2), atol=1e-6)
    assert said.probabilities.isnan().all()
    best = said.top(1)[0]
    assert (best["label"], best["probability"]) == ("second", None)
    assert best["logit"] == pytest.approx(1, abs=1e-6)
    heat = ins.explain(model, image(1), "second", ["gradcam"])
    assert heat.entries[0].probability is None
    assert "cosine" in heat.figure().axes[0].get_title()
    with pytest.raises(InnersightError, match=r"trust measures a probability, and the scores of Embeds \(cosine\)"):
        ins.trust(model, image(1))
    with pytest.raises(InnersightError, match="embeddings have 8 features but the references have 5"):
        ins.predict(ins.load(Embeds(), input=SPEC, head=Head(similarity(torch.randn(2, 5)).read, "none")), image(1))


def test_a_class_of_a_segmentation_over_a_region() -> None:
    torch.manual_seed(0)
    net = Segments().eval()
    model = ins.load(net, input=SPEC)
    assert len(model.labels) == 3
    assert "output['out'] is used as the class scores" in model.notes[0]
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[:12, 12:] = True
    corner = ins.load(net, input=SPEC, head=region(mask))
    x = torch.stack([image(1).tensor(model.input)])
    with torch.no_grad():
        out = net(x)["out"]
        assert torch.allclose(model.logits(x), out.mean((2, 3)))
        assert torch.allclose(corner.logits(x), out[:, :, :12, 12:].mean((2, 3)))
    heat = ins.explain(corner, image(1), 1, ["gradcam", "saliency"], layers="conv")
    by_pixel = heat.entries[1].values
    assert by_pixel[:11, 14:].any()
    assert not by_pixel[14:, :10].any()
    with pytest.raises(InnersightError, match="the region is empty"):
        region(torch.zeros(4, 4, dtype=torch.bool))


def test_detections_through_a_function_of_ones_own() -> None:
    class Detects(Segments):
        def forward(self, x: Tensor) -> dict[str, Tensor]:  # boxes and their scores, a row for each place
            scores = super().forward(x)["out"].flatten(2).transpose(1, 2)
            return {"boxes": scores[..., :2], "scores": scores}

    best = Head(lambda output: output["scores"].amax(1), "sigmoid", "best detection's logit")
    model = ins.load(Detects().eval(), input=SPEC, head=best, labels=["cat", "dog", "owl"])
    assert ins.predict(model, image(1)).logits.shape == (1, 3)
    assert ins.explain(model, image(1), "owl", ["saliency"], layers="conv").entries[0].verdict is None


def test_a_study_of_a_network_without_probabilities(tmp_path: Path) -> None:
    made = ins.study(embedder(), [image(1), image(2)], tmp_path / "study", plan=Plan(units=1, steps=1))
    made.report(tmp_path / "report.html")
    documents = tmp_path / "study" / "web" / "documents"
    study = json.loads((documents / "study.json").read_text())
    assert [p["prediction"][0]["probability"] for p in study["images"]] == [None, None]
    assert [p["prediction"][0]["label"] for p in study["images"]] == ["first", "second"]
    entries = json.loads((documents / "heatmaps.json").read_text())["entries"]
    assert {e["unit"] for e in entries} == {"cosine", "cosine per unit of input"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = InPlace().eval()
    model = ins.load(net, input=SPEC)
    plain = ins.explain(model, image(1), 2, ["gradcam"]).entries[0]
    exact = ins.activations(model, image(1), ["conv2"]).values["conv2"]
    other = ins.load(InPlace().eval().to(dtype), input=SPEC)
    other.net.load_state_dict(net.state_dict())
    found = ins.activations(other, image(1), ["conv2"]).values["conv2"]
    assert found.dtype == torch.float32
    assert torch.allclose(found, exact, atol=0.02)
    heat = ins.explain(other, image(1), 2, ["gradcam"]).entries[0]
    assert torch.allclose(heat.values, plain.values, atol=0.01)
    assert ins.patterns(other, ["conv1:0", "class:1"], steps=2).images.isfinite().all()
    assert ins.layers(other, measure=True)[0].receptive_field.size == (3, 3)
    assert next(other.net.parameters()).dtype is dtype


# What a network ends in, without saying so ---------------------------------------------------------------------------


class Ends(nn.Module):
    """A convolution, and a function of it at the end that is no module."""

    def __init__(self, end: Callable[[Tensor], Any], classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 3, padding=1)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.conv(x))


def ended(end: Callable[[Tensor], Any], classes: int = 3) -> Model:
    torch.manual_seed(0)
    return ins.load(Ends(end, classes).eval(), input=SPEC)


def fed() -> Tensor:
    return torch.stack([image(i).tensor(SPEC) for i in (1, 2)])


def test_a_function_that_is_a_sigmoid_is_not_applied_twice() -> None:
    model = ended(lambda maps: torch.sigmoid(maps.mean((2, 3)) - 2), classes=1)
    x = fed()
    with torch.no_grad():
        own = model.net(x)[:, 0]
        assert torch.allclose(model.probabilities(model.logits(x))[:, 1], own, atol=1e-5)
    assert bool((own < 0.5).all())
    assert ins.predict(model, image(1)).top(0, 1)[0]["label"] == "no"
    several = ended(lambda maps: torch.sigmoid(maps.mean((2, 3)) - 2), classes=5)
    with torch.no_grad():
        assert torch.allclose(several.probabilities(several.logits(x)), several.net(x), atol=1e-5)
    assert "the network ends in a sigmoid: each class is independent" in several.notes
    by_hand = ended(lambda maps: 1 / (1 + (2 - maps.mean((2, 3))).exp()), classes=5)
    with torch.no_grad():
        assert torch.allclose(by_hand.probabilities(by_hand.logits(x)), by_hand.net(x), atol=1e-5)
    assert "read as probabilities of independent classes (if they are scores, say so with head=)" in " ".join(
        by_hand.notes
    )


def test_scores_that_happen_to_lie_between_0_and_1_stay_scores() -> None:
    model = ended(lambda maps: maps.mean((2, 3)) * 0.05 + 0.5)
    with torch.no_grad():
        own = model.net(fed())
        assert bool(((own > 0) & (own < 1)).all())
        assert torch.equal(model.logits(fed()), own)
    assert model.head.link == "softmax"


@pytest.mark.parametrize(
    ("end", "unit"),
    [
        (lambda maps: maps, "mean logits of the region"),
        (lambda maps: maps.permute(0, 2, 3, 1), "mean logits of the region"),
        (lambda maps: maps.softmax(1), "mean log-probability of the region"),
        (lambda maps: maps.permute(0, 2, 3, 1).softmax(3), "mean log-probability of the region"),
        (lambda maps: maps.sigmoid(), "mean logits of the region"),
    ],
)
def test_segmentations_of_any_arrangement_and_ending(end: Callable[[Tensor], Tensor], unit: str) -> None:
    model = ended(end)
    assert model.labels == ("0", "1", "2")
    assert model.head.unit == unit
    x = fed()
    with torch.no_grad():
        maps = model.net.conv(x)
        truth = maps.log_softmax(1) if "log" in unit and "logits" not in unit else maps
        assert torch.allclose(model.logits(x), truth.mean((2, 3)), atol=1e-4)


def test_a_row_of_scores_in_a_grid_of_one_place() -> None:
    model = ended(lambda maps: maps.mean((2, 3), keepdim=True))
    assert model.head.link == "softmax"
    assert ins.predict(model, image(1)).logits.shape == (1, 3)


def test_a_grid_that_is_none_of_the_image_is_refused() -> None:
    with pytest.raises(InnersightError, match=r"returned \(3, 3, 24, 2\), which is not a grid of an image .*head="):
        ended(lambda maps: maps[..., :2])


def test_a_network_that_squeezes_its_batch_away() -> None:
    model = ended(lambda maps: maps.mean((2, 3), keepdim=True).squeeze())
    assert ins.predict(model, image(1)).logits.shape == (1, 3)
    assert ins.explain(model, image(1), methods=["saliency"], layers="conv").entries[0].verdict is None
    with pytest.raises(InnersightError, match=r"for a single image.*squeeze only the dimensions meant"):
        ended(lambda maps: maps.mean((2, 3)) if len(maps) > 1 else maps.mean((2, 3)).repeat(2, 1))


def test_a_class_that_is_ruled_out_hides_no_dependence_on_other_images() -> None:
    class Relative(InPlace):
        def forward(self, x: Tensor) -> Tensor:
            scores = super().forward(x)
            return (scores - scores.mean(0)).masked_fill(torch.arange(4) == 2, -1e9)

    class Ruled(InPlace):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).masked_fill(torch.arange(4) == 2, -1e9)

    torch.manual_seed(0)
    assert any("when it is alone" in note for note in ins.load(Relative().eval(), input=SPEC).notes)
    assert not any("when it is alone" in note for note in ins.load(Ruled().eval(), input=SPEC).notes)
