"""Wrong labels come first, also where the network has learned them by heart; right ones are not listed."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import innersight as ins
from innersight.audit.result import Audit
from innersight.heads import Head
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources.small_resnet import SmallResNet
from innersight.toons import CLASSES, draw

NAMES, EACH = CLASSES[:5], 16
WRONG = {3: "bosk", 20: "dulci", 41: "ambra", 77: "corvo"}


@cache
def pixels() -> tuple[np.ndarray, ...]:
    return tuple(draw(name, seed).pixels for name in NAMES for seed in range(900, 900 + EACH))


def labelled(wrong: dict[int, str]) -> list[tuple[Any, str]]:
    return [(image, wrong.get(i, NAMES[i // EACH])) for i, image in enumerate(pixels())]


def audited(model: Model, images: Any, **options: Any) -> Audit:
    return ins.audit(model, images, checks=["label"], **options)


def test_wrong_labels_are_listed_first_with_what_the_network_saw() -> None:
    [found] = audited(ins.load("toon"), labelled(WRONG)).findings
    assert {f"image {i}" for i in WRONG} <= set(found.images[:5])
    assert found.images_total <= 6
    assert not found.confirmed
    assert found.proof is not None
    # Every image with a label, those that are listed first.
    assert sorted(found.ranking) == sorted(f"image {i}" for i in range(len(pixels())))
    assert tuple(found.ranking[: found.images_total]) == tuple(found.images)
    shown = dict(zip(found.images, found.proof.captions, strict=True))
    assert shown["image 3"] == "labelled bosk, seen as ambra"


def test_a_network_to_which_all_images_are_alike_teaches_nothing() -> None:
    net = SmallResNet(len(NAMES), width=4).eval()
    for parameter in net.parameters():
        parameter.data.zero_()
    model = ins.load(net, labels=list(NAMES), input=InputSpec(64, 64))
    checked = {one.check: one for one in audited(model, labelled({})).checked}
    assert "cross-validation" not in checked["label"].sentence


def test_right_labels_are_not_listed() -> None:
    assert audited(ins.load("toon"), labelled({})).findings == ()


def test_images_that_the_network_was_trained_on_are_judged_by_cross_validation() -> None:
    # The scores repeat the wrong labels, as those of a network that knows them by heart.
    model = ins.load("toon")
    [found] = audited(model, labelled(WRONG), train=list(pixels())).findings
    [checked] = [one for one in found_checked(model) if one.check == "label"]
    assert "own probabilities" not in checked.sentence
    assert "cross-validation" in checked.sentence
    assert {f"image {i}" for i in WRONG} <= set(found.images[:6])


def found_checked(model: Model) -> Any:
    return audited(model, labelled(WRONG), train=list(pixels())).checked


def test_scores_without_probabilities_are_no_hindrance() -> None:
    model = ins.load("toon")
    silent = replace(model, head=Head(lambda output: output, "none"))
    [found] = audited(silent, labelled(WRONG)).findings
    assert {f"image {i}" for i in WRONG} <= set(found.images[:6])


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_few_images_of_one_class_among_many(link: str) -> None:
    model = ins.load("toon")
    model = replace(model, head=Head(lambda output: output, link))  # type: ignore[arg-type]
    few = [(draw("ambra", s).pixels, "ambra") for s in range(900, 906)] + [(draw("elke", 900).pixels, "ambra")]
    found = audited(model, few)
    [finding] = found.findings
    assert finding.images == ("image 6",)
    again = audited(model, few)
    assert again.to_json() == found.to_json()


def test_without_labels_it_does_not_run() -> None:
    [checked] = [one for one in audited(ins.load("toon"), list(pixels()[:4])).checked if one.check == "label"]
    assert not checked.done


def test_a_poor_classifier_doubts_no_label_and_copies_do_not_learn_from_each_other() -> None:
    found = audited(ins.load("small:4"), [(pixels()[i], CLASSES[i // EACH]) for i in range(32)])
    assert not found.findings
    copies = [(pixels()[i * EACH], NAMES[i]) for i in range(2)] * 15
    assert not audited(ins.load("toon"), copies).findings
