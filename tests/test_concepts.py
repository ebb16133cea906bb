"""`concepts`: what is found, what each concept contributes and does, and what a study keeps of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import batch, image, tiny
from PIL import Image as PILImage
from torch import nn

import innersight as ins
from innersight import tap
from innersight.concepts import Concepts, Contributions, contribute, image_concepts, read_concepts
from innersight.concepts.contribution import shares
from innersight.concepts.crops import crops_of
from innersight.concepts.images import strongest
from innersight.concepts.result import _middle
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.layers import default_layers
from innersight.model import Model
from innersight.plots.concept_images import concept_images
from innersight.storage.store import Store
from innersight.toons import Drawn, draw


@pytest.fixture(scope="module")
def toon() -> Model:
    return ins.load("toon")


@pytest.fixture(scope="module")
def found(toon: Model) -> Concepts:
    return ins.concepts(toon, Drawn(per_class=4), layer="stage4", count=8)


def test_contributions_are_the_integral_of_the_slope_along_the_way() -> None:
    """Against a midpoint sum of 4,000 steps in float64 (Sundararajan et al. 2017, equation 1)."""
    model = tiny("dense", dtype=torch.float64)
    layer, x = default_layers(model)[0], batch(model)
    classes = torch.tensor([2, 0])
    with tap.untouched(model):
        parts = contribute(tap.resume(model, x, layer), classes)
        maps = tap.capture(model, x, [layer]).activations[layer].detach()
        total = torch.zeros(maps.shape[:2], dtype=torch.float64)
        for step in range(400):
            share = (step + 0.5) / 400
            leaf = (maps * share).requires_grad_(True)
            scores = tap.replace(model, x, layer, lambda _, leaf=leaf: leaf)[[0, 1], classes]
            (slope,) = torch.autograd.grad(scores.sum(), [leaf])
            total += (slope * maps).sum((2, 3)) / 400
    torch.testing.assert_close(parts.values.double(), total, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("network", ["in-place", "dense", "functional"])
def test_contributions_and_rest_add_up_to_the_score(network: str) -> None:
    model = tiny(network)
    layer, x = default_layers(model)[0], batch(model)
    with tap.untouched(model), torch.no_grad():
        parts = contribute(tap.resume(model, x, layer), torch.tensor([1, 3]))
        nothing = tap.replace(model, x, layer, torch.zeros_like)[[0, 1], [1, 3]]
        score = model.logits(x)[[0, 1], [1, 3]]
    torch.testing.assert_close(parts.rest, nothing, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.score, score, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.values.sum(1) + parts.rest + parts.missing, score, rtol=1e-4, atol=1e-5)
    assert (parts.missing.abs() <= 0.05 * (parts.score - parts.rest).abs() + 1e-4).all()


def test_the_last_layer_of_the_toon_network_is_exact(found: Concepts) -> None:
    """Behind stage4 come a mean and a matrix: what a concept adds is what its removal takes away."""
    rows = torch.arange(len(found.ablation.images))
    taken = found.ablation.change[rows, :, found.contributions.classes]
    torch.testing.assert_close(found.contributions.values, -taken, rtol=1e-3, atol=1e-4)
    assert found.contributions.missing.abs().max() < 1e-4


def test_examples_are_the_highest_of_all_images(toon: Model, found: Concepts) -> None:
    maps = ins.activations(toon, Drawn(per_class=4), "stage4~nmf", concepts=found).values["stage4~nmf"]
    best = [found.scan.examples(f"stage4~nmf:{concept}")[0] for concept in range(8)]
    expected = maps.amax((0, 2, 3))
    torch.testing.assert_close(torch.tensor([one.value for one in best]), expected, rtol=1e-4, atol=1e-4)


def test_cards_say_which_class_a_concept_speaks_for(found: Concepts) -> None:
    for concept in range(8):
        card = found.card(concept)
        values = [row["contribution"]["value"] for row in card["classes"]]
        assert values == sorted(values, reverse=True)
        first = card["classes"][0]
        own = (found.contributions.classes == first["number"]).nonzero()[:, 0]
        assert first["images"] == len(own)
        assert first["contribution"]["value"] == pytest.approx(
            float(found.contributions.values[own, concept].mean()), rel=1e-5
        )
        low, high = first["contribution"]["interval"]
        assert low <= first["contribution"]["value"] <= high
    strongest_first = found.contributions.values.abs().mean(0)[list(found.order)]
    assert (strongest_first.diff() <= 0).all()


def test_labels_come_from_the_masks_of_the_data_set(toon: Model) -> None:
    found = ins.concepts(toon, Drawn(per_class=6), layer="stage4", count=16)
    parts = {card["label"]["label"] for card in found.to_json()["concepts"] if card["label"] is not None}
    assert parts
    assert parts <= {"hair", "eyes", "accessory", "skin", "clothes", "mouth"}


def test_what_a_study_keeps_gives_the_same_concepts(toon: Model, tmp_path: Path) -> None:
    made = ins.concepts(toon, Drawn(per_class=2), layer="stage4", count=4, out=tmp_path / "study")
    kept = read_concepts(tmp_path / "study")
    image = draw("ambra", 3).pixels
    one, other = (
        ins.activations(toon, image, "stage4~nmf", concepts=sets).values["stage4~nmf"] for sets in (made, kept)
    )
    assert torch.equal(one, other)
    item = Store.open(tmp_path / "study").get("concepts/stage4/nmf")
    assert item is not None
    assert item.document["concepts"] == json.loads(json.dumps(made.to_json()["concepts"]))
    assert item.tensors()["crops"].shape[1:] == (96, 96, 3)


def test_a_second_set_of_one_name_needs_another_name(toon: Model, tmp_path: Path) -> None:
    ask: dict[str, Any] = {"layer": "stage4", "count": 4, "out": tmp_path}
    ins.concepts(toon, Drawn(per_class=1), **ask)
    with pytest.raises(InnersightError, match=r"stage4~nmf already.*--name"):
        ins.concepts(toon, Drawn(per_class=2), **ask)
    ins.concepts(toon, Drawn(per_class=1), name="more", **ask)
    ins.concepts(toon, Drawn(per_class=2), overwrite=True, **ask)
    assert {layer.name for layer in read_concepts(tmp_path).inserted()} == {"stage4~nmf", "stage4~more"}


def test_the_study_of_another_network_takes_no_concepts(toon: Model, tmp_path: Path) -> None:
    ins.study(ins.load("small:8"), [np.zeros((80, 80, 3), np.uint8)], tmp_path, plan=ins_plan())
    with pytest.raises(InnersightError, match="study of another network"):
        ins.concepts(toon, Drawn(per_class=1), layer="stage4", count=4, out=tmp_path)


def ins_plan() -> Any:
    from innersight.study import Plan

    return Plan(layers=("stem",), units=0, methods=("saliency",), rivals=False, trust=0)


def test_a_study_without_concepts_says_how_to_find_some(tmp_path: Path) -> None:
    ins.study(ins.load("small:8"), [np.zeros((80, 80, 3), np.uint8)], tmp_path, plan=ins_plan())
    with pytest.raises(InnersightError, match="holds no concepts: find some by `innersight concepts"):
        read_concepts(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "nfm"}, "nmf"),
        ({"count": 0}, "count=0"),
        ({"count": "many"}, "count=many"),
        ({"name": "a b"}, "cannot stand in an address"),
        ({"layer": "stage9"}, "stage4"),
        ({"masks": "gone", "words": (["a"], len)}, "not by both"),
    ],
)
def test_bad_input_names_the_value_and_the_remedy(toon: Model, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InnersightError, match=message):
        ins.concepts(toon, Drawn(per_class=1), **{"layer": "stage4", "count": 4, **change})


def test_one_image_is_too_few(toon: Model) -> None:
    with pytest.raises(InnersightError, match="several images share"):
        ins.concepts(toon, draw("ambra", 1).pixels, layer="stage4", count=4)


def test_concepts_of_another_network_are_refused_and_no_maps_of_it(tmp_path: Path) -> None:
    images = [image(seed) for seed in range(4)]
    model, other = tiny("in-place"), tiny("in-place", seed=5)
    made = ins.concepts(model, images, count=2, out=tmp_path)
    kept, address = read_concepts(tmp_path), made.address
    for sets in (made, kept):
        assert ins.activations(model, images, address, concepts=sets).values[address].shape[1] == 2
        with pytest.raises(InnersightError, match=f"{address} was found in another network"):
            ins.activations(other, images, address, concepts=sets)
    # Checkpoints are compared by the concepts of one of them; and whoever says so may use them anywhere.
    assert len(ins.match(model, other, images, [address], concepts=kept)[address].partner) == 2
    assert ins.activations(other.with_concepts(kept), images, address).values[address].shape[1] == 2
    with pytest.raises(InnersightError, match="study of another network"):
        ins.concepts(other, images, count=2, name="more", out=tmp_path)
    with torch.no_grad():
        next(model.net.parameters()).mul_(2)
    with pytest.raises(InnersightError, match="or in another state of this one"):
        ins.activations(model, images, address, concepts=made)
    with pytest.raises(InnersightError, match="other weights"):
        image_concepts(model, images, made)


@pytest.mark.parametrize("given", [Concepts, ins.load("small:8"), "study/"])
def test_what_is_no_set_of_concepts_is_named(given: Any) -> None:
    model, pixels = tiny("in-place"), image()
    with pytest.raises(InnersightError, match="concepts is "):
        ins.activations(model, pixels, concepts=given)
    with pytest.raises(InnersightError, match=r"found is .*: give what `innersight.concepts` returned"):
        image_concepts(model, pixels, given)


class Overflowing(nn.Module):
    """Scores of dark images are infinite."""

    def __init__(self, net: nn.Module, least: float) -> None:
        super().__init__()
        self.net, self.least = net, least

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.net(x)
        return scores.where((x.mean((1, 2, 3)) > self.least)[:, None], torch.inf)


def test_no_effects_are_measured_on_images_without_finite_scores() -> None:
    model = tiny("in-place")
    images = [np.full((24, 24, 3), 20 * number, np.uint8) for number in range(8)]
    dark = float(model.input.normalise(torch.full((3, 24, 24), 70 / 255)).mean())
    some, all_ = (replace(model, net=Overflowing(model.net, least)) for least in (dark, torch.inf))
    found = ins.concepts(some, images, count=2)
    assert len(found.ablation.images) == 4
    assert "no effects were measured on 4 images whose class scores are not finite" in found.notes
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(InnersightError, match="not finite for any image"):
        ins.concepts(all_, images, count=2)


def test_concepts_of_a_network_with_concepts_are_of_its_own_layers() -> None:
    model = tiny("in-place")
    images = [image(seed) for seed in range(4)]
    first = ins.concepts(model, images, count=2)
    layered = model.with_concepts(first)
    assert ins.concepts(layered, images, count=2, name="more").layer == first.layer
    with pytest.raises(InnersightError, match="is a set of concepts: name the layer"):
        ins.concepts(layered, images, first.address, count=2)


def test_too_few_images_for_halves_are_told_before_the_other_passes() -> None:
    model, seen = tiny("in-place"), list[str]()
    images = [image(seed) for seed in range(4)]

    def progress(_done: int, _total: int, text: str) -> None:
        seen.append(text)

    with pytest.raises(InnersightError, match=r"half of the images, by which.*2 vectors of 4 units"):
        ins.concepts(model, images, "head", by="pca", count=3, progress=progress)
    with pytest.raises(InnersightError, match=r"half of the images, by which.*all vectors are equal"):
        ins.concepts(model, images[:2], "head", by="kmeans", count=1)
    assert "finding examples" not in seen


def test_numbers_out_of_range_are_named(found: Concepts, toon: Model) -> None:
    for number in (8, -1):
        for ask in (found.card, found.classes, found.label):
            with pytest.raises(InnersightError, match=f"concept {number} is out of range: stage4~nmf has concepts 0-7"):
                ask(number)
    shown = image_concepts(toon, draw("ambra", 1).pixels, found)
    with pytest.raises(InnersightError, match="image 1 is out of range"):
        shown.groups(1)
    for name in ("limit", "columns"):
        with pytest.raises(InnersightError, match=f"{name}=0"):
            concept_images(shown, **{name: 0})


def test_a_share_has_the_sign_of_what_the_concept_adds() -> None:
    def of(*values: float) -> list[float]:
        own = torch.tensor([values])
        rest, zero = torch.tensor([1.0]), torch.zeros(1)
        return shares(Contributions(own[..., None, None], own, rest, zero, rest + own.sum(1), zero.long())).tolist()

    assert of(3.0, -1.0) == [1.5, -0.5]
    assert of(-3.0, 1.0) == [-1.5, 0.5]
    assert of(0.0, 0.0) == [0, 0]


def test_the_middle_of_two_shares_is_between_them() -> None:
    assert _middle(torch.tensor([0.25, torch.nan, 0.75, torch.inf])) == 0.5


def test_a_study_made_with_concepts_is_of_the_same_network(tmp_path: Path) -> None:
    model = tiny("in-place")
    images = [image(seed) for seed in range(4)]
    made = ins.concepts(model, images, count=2)
    plan = replace(ins_plan(), layers=(made.layer,))
    ins.study(model, images[:1], tmp_path, plan=plan, concepts=made)
    ins.concepts(model, images, count=2, name="more", out=tmp_path)
    # Nor does another run of that study drop them, or look for others of a layer whose concepts were given.
    (tmp_path / "anew").mkdir()
    assert not ins.study(model, images[:2], tmp_path / "anew", plan=plan, concepts=made).skipped
    ins.study(model, images[:1], tmp_path, plan=plan, concepts=made)
    assert [one.name for one in read_concepts(tmp_path).inserted()] == [f"{made.layer}~more"]


def test_what_takes_no_network_takes_no_concepts(found: Concepts) -> None:
    with pytest.raises(InnersightError, match="load is given no network, so it cannot take concepts="):
        ins.load("small:8", concepts=found)  # type: ignore[call-arg]


def test_a_layer_without_locations_has_concepts_too(toon: Model) -> None:
    found = ins.concepts(toon, Drawn(per_class=2), layer="head", count=3)
    assert ins.activations(toon, Drawn(per_class=1), "head~nmf", concepts=found).values["head~nmf"].shape == (
        10,
        3,
        1,
        1,
    )


def test_examples_that_are_gone_are_named(toon: Model, tmp_path: Path) -> None:
    for i, name in enumerate(("ambra", "bosk", "corvo")):
        PILImage.fromarray(draw(name, i).pixels).save(tmp_path / f"{name}.png")
    found = ins.concepts(toon, tmp_path, layer="stage4", count=3)
    assert not crops_of(found).lost
    (tmp_path / "bosk.png").unlink()
    (lost,) = crops_of(found).lost
    assert "bosk.png" in lost


def test_a_folder_that_loses_an_image_on_the_way_is_named(tmp_path: Path) -> None:
    for seed in range(4):
        image(seed).pil.save(tmp_path / f"{seed}.png")

    def progress(_done: int, _total: int, text: str) -> None:
        if text == "finding examples":
            (tmp_path / "0.png").unlink(missing_ok=True)

    with pytest.raises(ImageError, match="there is no image #3 any more: the data has fewer images"):
        ins.concepts(tiny("in-place"), tmp_path, count=2, progress=progress)


def test_images_as_concepts_sum_to_the_score(toon: Model, found: Concepts) -> None:
    images = [draw(name, 5).pixels for name in ("ambra", "corvo")]
    shown = image_concepts(toon, images, found)
    logits = ins.predict(toon, images).logits
    parts = shown.contributions
    torch.testing.assert_close(parts.score, logits.amax(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parts.values.sum(1) + parts.rest + parts.missing, parts.score, rtol=1e-4, atol=1e-4)
    one = image_concepts(toon, images[:1], found, target="corvo")
    assert int(one.contributions.classes[0]) == toon.class_index("corvo")
    with pytest.raises(InnersightError, match="other weights"):
        image_concepts(ins.load("small:8"), images, found)


def test_groups_are_at_least_four_and_none_that_adds_nothing() -> None:
    values = torch.tensor([10.0, 0.001, -5.0, 1.0, 0.002, 0.5, 0.0, 0.003, 3.0, 0.2])
    assert strongest(values) == (0, 2, 8, 3, 5)
    assert strongest(torch.tensor([1.0, 0, 0, 0, 0, 0])) == (0, 1, 2, 3)


def test_figures_and_files(found: Concepts, toon: Model, tmp_path: Path) -> None:
    found.save(tmp_path / "cards.png", limit=2)
    image_concepts(toon, draw("elke", 2).pixels, found).save(tmp_path / "image.png")
    for name in ("cards.png", "image.png"):
        with PILImage.open(tmp_path / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 500
    assert set(found.tensors()) >= {"directions", "contributions"}
    assert len(json.loads(found.save(tmp_path / "cards.json").read_text())["concepts"]) == 8
