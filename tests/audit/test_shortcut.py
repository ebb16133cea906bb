"""Shortcuts and reliances of networks of which it is known what they look at, and of none that is not there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from planted import HONEST, LABELS, STAMPED, Images, blobs, cast, changing, dark, network, stamp, wandering
from torch import nn

import innersight as ins
from innersight.audit import Audit, Finding, tested
from innersight.audit.interventions import Intervention
from innersight.audit.statements import effect_of
from innersight.errors import InnersightError
from innersight.heads import multilabel

BOTH = ["shortcut", "reliance"]


def found(model: ins.Model, images: object, **more: object) -> Audit:
    """Audit shortcuts and reliances."""
    return ins.audit(model, images, checks=BOTH, **more)


def shortcuts(audit: Audit) -> list[Finding]:
    """Return the shortcuts that were found."""
    return [one for one in audit.findings if one.check == "shortcut"]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the intersection of two boxes over their union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared)


def test_a_stamp_that_decides_is_a_shortcut_of_its_class_at_its_place() -> None:
    audit = found(network(STAMPED), blobs(plants={0: stamp}, strength=0.9))
    (one,) = shortcuts(audit)
    assert (one.label, one.reason, one.confirmed) == ("red", "same pixels", True)
    assert one.region is not None
    assert overlap(one.region, (0.05, 0.05, 0.25, 0.25)) > 0.5
    assert one.effect is not None
    assert one.effect.value > 0.9
    assert (one.effect.control or 0) < 0.2
    assert one.effect.p is not None
    assert one.effect.p < 0.01
    assert not audit.clean
    # The images named are those that have it, not one of another class.
    assert 30 <= one.images_total <= 40
    assert len(one.to_json()["images"]) == 32


def test_the_same_stamp_at_random_places_is_found_by_its_pixels() -> None:
    (one,) = shortcuts(found(network(STAMPED), blobs(plants={0: wandering})))
    assert (one.label, one.reason, one.region) == ("red", "same pixels", None)
    assert "nearly the same pixels" in one.sentence


def test_what_changes_but_stays_at_one_place_is_a_shortcut_by_its_position() -> None:
    (one,) = shortcuts(found(network(STAMPED), blobs(plants={0: changing})))
    assert (one.label, one.reason) == ("red", "fixed position")


def test_a_stamp_that_the_network_does_not_look_at_is_none() -> None:
    audit = found(network(HONEST), blobs(plants={0: stamp}))
    assert not shortcuts(audit)
    assert audit.clean


def test_what_the_object_consists_of_is_a_reliance_and_no_shortcut() -> None:
    audit = found(network(HONEST), blobs())
    assert audit.clean
    assert not shortcuts(audit)
    assert {one.label for one in audit.findings} == set(LABELS)
    for one in audit.findings:
        assert one.check == "reliance"
        assert one.effect is not None
        assert one.region is None
        assert one.effect.value > (one.effect.control or 0) + 0.3


def test_a_colour_cast_that_decides_is_a_shortcut() -> None:
    plain = ((0.5, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
    model = network(plain, tint=1.0)
    # What shows nothing is none of the class.
    model.net.head.bias.data = torch.tensor([-1.0, 0, 0])
    (one,) = shortcuts(found(model, blobs(plants={0: cast})))
    assert (one.label, one.reason, one.region) == ("red", "image-wide property", None)
    assert "colour cast (red +" in one.sentence


@pytest.mark.parametrize("plant", [cast, dark])
def test_a_property_that_changes_no_decision_is_none(plant: object) -> None:
    assert not shortcuts(found(network(HONEST), blobs(plants={1: plant})))


def test_what_lies_outside_of_the_boxes_is_a_shortcut(tmp_path: Path) -> None:
    images = _written(tmp_path / "images", blobs(plants={0: wandering}, per_class=30))
    boxes = tmp_path / "boxes.csv"
    rows = [f"{file.relative_to(tmp_path / 'images')},0.9,0.9,1,1" for file in images]
    boxes.write_text("\n".join(["file,x0,y0,x1,y1", *rows]))
    honest = found(network(HONEST), tmp_path / "images", boxes=boxes)
    reasons = {one.reason for one in shortcuts(honest)}
    assert reasons == {"outside the boxes"}
    assert {one.label for one in shortcuts(honest)} == set(LABELS)
    boxes.write_text("\n".join(["file,x0,y0,x1,y1", *(row.replace("0.9,0.9", "0,0") for row in rows)]))
    assert not shortcuts(found(network(HONEST), tmp_path / "images", boxes=boxes))


def _written(folder: Path, images: Images) -> list[Path]:
    files = []
    for i, (pixels, label) in enumerate(images[j] for j in range(len(images))):
        file = folder / LABELS[label] / f"{i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(pixels).save(file)
        files.append(file)
    return files


def test_what_is_confirmed_by_taking_it_away_states_that_effect() -> None:
    rise = {"rise": 0.01, "rise_interval": [-0.1, 0.1], "rise_control": 0.0, "rise_p": 1.0}
    turned = {"share": 0.02, "interval": [0.0, 0.1], "control": 0.0, "p": 1.0, "count": 50, **rise}
    lost = {"share": 0.9, "interval": [0.8, 1.0], "control": 0.04, "p": 0.0001, "count": 50, **rise}
    one = tested.Tested(
        0, "noise", "noise", 1.0, 0.0, turned, lost, None, (), None, 0.95, True, None, None, (), (), (), 1.0, 0.002
    )
    effect = effect_of(one)
    assert (effect.value, effect.control, effect.p) == (0.9, 0.04, 0.002)
    assert "lost without it" in effect.unit
    # What turns many is confirmed by them; what turns fewer than the control by nothing of the kind.
    many = {**turned, "share": 0.5}
    effect = effect_of(replace(one, p=0.01, turned=many))
    assert (effect.value, effect.p) == (0.5, 0.01)
    assert "turn into the class" in effect.unit
    fewer = replace(one, p=0.01, turned={**many, "control": 0.8, "rise": 0.9}, p_rise=0.001)
    assert not fewer.turns
    assert not fewer.rises
    # Few turn, but all come nearer.
    nearer = {**turned, "rise": 0.5, "rise_interval": [0.4, 0.6], "rise_control": 0.1}
    effect = effect_of(replace(one, p=0.2, p_lost=1.0, p_rise=0.003, turned=nearer))  # turns 2%, the control none
    assert (effect.value, effect.interval, effect.control, effect.p) == (0.5, (0.4, 0.6), 0.1, 0.003)
    assert "score rises" in effect.unit


def test_the_rise_of_a_score_is_stated_as_a_share_of_what_was_lacking() -> None:
    before, gain = torch.full((40,), -4.0), torch.linspace(1.0, 3.0, 40)
    hit, shown = before + gain > 0, torch.zeros(40, 3, 8, 8)
    trial = Intervention(np.arange(40), hit, (hit, hit), before, gain, (gain - 1, gain * 0), shown)
    found = trial.to_json()
    assert found["rise"] == pytest.approx(0.5)
    assert found["rise_control"] == pytest.approx(0.25)
    low, high = found["rise_interval"]
    assert (low + high) / 2 == pytest.approx(0.5)
    assert (high - low) / 2 == pytest.approx(1.96 * float(gain.std()) / 40**0.5 / 4)
    assert found["rise_p"] == 1e-4
    # The larger p of the two controls counts.
    same = Intervention(np.arange(40), hit, (hit, hit), before, gain, (gain - 1, gain.flip(0)), shown)
    assert same.to_json()["rise_p"] > 0.5


def test_without_labels_the_predicted_classes_are_audited() -> None:
    images = blobs(plants={0: stamp})
    audit = found(network(STAMPED), list(images.pixels))
    first = shortcuts(audit)[0]
    assert (first.label, first.reason) == ("red", "same pixels")
    assert "as no image is labelled" in audit.checked[0].sentence


def test_independent_scores_are_audited_too() -> None:
    plain = network(STAMPED)
    net, model_input = plain.net, plain.input
    net.head.bias.data.fill_(-1.5)
    model = ins.load(net, input=model_input, labels=LABELS, head=multilabel())
    (one,) = shortcuts(found(model, blobs(plants={0: stamp})))
    assert one.label == "red"
    assert one.reason == "same pixels"


@pytest.mark.parametrize(("per_class", "labels"), [(19, [0, 1, 2]), (60, [0])])
def test_too_few_images_or_a_single_class_are_said(per_class: int, labels: list[int]) -> None:
    images = blobs(per_class=per_class)
    chosen = [i for i, label in enumerate(images.labels) if label in labels]
    few = Images([images.pixels[i] for i in chosen], [images.labels[i] for i in chosen])
    audit = found(network(HONEST), few)
    assert not audit.findings
    assert all(
        not one.done and "needs images of two classes, and at least 20 of one" in one.sentence
        for one in audit.checked[:2]
    )


def test_the_budget_is_kept_and_a_second_run_says_the_same() -> None:
    images, model = blobs(plants={0: stamp}, per_class=24), network(STAMPED)
    first, second = (found(model, images).to_json() for _ in range(2))
    assert first == second
    assert first["passes"] <= 15 * first["images"]
    # The classes are not all the budget: other checks have their share.
    assert first["passes"] <= 13 * first["images"]


@pytest.mark.parametrize("per_class", [20, 30])
def test_a_small_folder_does_not_take_more_than_the_budget(per_class: int) -> None:
    audit = found(network(STAMPED), blobs(plants={0: stamp}, per_class=per_class))
    assert audit.passes <= 12 * audit.images


def test_wrong_labels_are_no_shortcut() -> None:
    images = blobs(per_class=60)
    labels = [0 if label == 1 and i % 10 == 0 else label for i, label in enumerate(images.labels)]
    assert not shortcuts(found(network(HONEST), Images(images.pixels, labels)))


def test_the_colour_of_an_object_is_no_colour_cast() -> None:
    rng = np.random.default_rng(3)
    images = blobs(per_class=50)
    for pixels, label in zip(images.pixels, images.labels, strict=True):
        colour = np.full(3, 20.0)
        colour[label] = 200
        pixels[12:28, 12:28] = (colour + rng.normal(0, 15, (16, 16, 3))).clip(0, 255)
    audit = found(network(HONEST), images)
    assert "image-wide property" not in {one.reason for one in audit.findings}


def test_images_without_a_label_belong_to_no_class() -> None:
    images = blobs(plants={0: stamp}, per_class=30)
    half = [(pixels, label if i % 2 else None) for i, (pixels, label) in enumerate(images[j] for j in range(90))]
    audit = found(network(HONEST), half)
    assert all("needs images of two classes" in one.sentence for one in audit.checked[:2])


def test_the_folder_of_the_images_is_no_place_for_the_study(tmp_path: Path) -> None:
    _written(tmp_path, blobs(per_class=2))
    with pytest.raises(InnersightError, match="give another one"):
        found(network(HONEST), tmp_path, out=tmp_path)


def test_the_network_is_left_as_it_was() -> None:
    model = network(STAMPED)
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    found(model, blobs(per_class=20))
    assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())
    assert all(isinstance(one, nn.Module) and not one._forward_hooks for one in model.net.modules())


@pytest.mark.cluster
def test_a_cluster_finds_the_same() -> None:
    # Workers know neither the network nor the data set of these tests.
    images, model = blobs(plants={0: stamp}, per_class=24), ins.load("small:4")
    given = [images[i] for i in range(len(images))]
    here, there = (found(model, given, ray=ray).to_json() for ray in (None, "local?workers=1&cpus=1"))
    assert here == there
    assert here["passes"] > 2 * len(given)
