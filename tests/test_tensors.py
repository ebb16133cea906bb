"""Tensors, arrays and batches as images: the same values in every function, and what was assumed is said."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import InPlace, tiny
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

import innersight as ins
from innersight.boxes import PixelBox
from innersight.errors import InnersightError
from innersight.image import ImageError
from innersight.input_spec import InputSpec
from innersight.inputs import read
from innersight.model import Model
from innersight.patterns import interpretability
from innersight.study import Plan, Study
from innersight.study.compute import compute
from innersight.study.panel import parse_request
from innersight.trust import Protocol

COUNT = 4


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


def shots() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 24, 24, 3)).astype(np.uint8)


def fed(model: Model) -> Tensor:
    """What a loader for training would feed the network of these images, at its own size."""
    return model.input.normalise(torch.from_numpy(shots()).permute(0, 3, 1, 2) / 255)


FORMS: dict[str, Callable[[Model], Any]] = {
    "floats": fed,
    "a list": lambda model: list(fed(model)),
    "a tuple of batches": lambda model: tuple(fed(model).split(3)),
    "with labels": lambda model: (fed(model), torch.tensor([0, 1, 2, 3])),
    "lists with labels": lambda model: [fed(model), torch.tensor([0, 1, 2, 3])],
    "a dict": lambda model: {"pixel_values": fed(model), "labels": torch.tensor([0, 1, 2, 3])},
    "a loader": lambda model: DataLoader(TensorDataset(fed(model), torch.tensor([0, 1, 2, 3])), 3, shuffle=True),
    "a generator": lambda model: iter(fed(model)),
    "nested": lambda model: [list(fed(model)[:3]), fed(model)[3]],
    "with a gradient": lambda model: fed(model).requires_grad_() * 1,
    "float64": lambda model: fed(model).double(),
    "channels last in memory": lambda model: fed(model).to(memory_format=torch.channels_last),
    "uint8": lambda model: torch.from_numpy(shots()).permute(0, 3, 1, 2),
    "uint8, channels last": lambda model: torch.from_numpy(shots()),
    "an array": lambda model: shots(),
    "arrays": lambda model: list(shots()),
    "PIL": lambda model: list(map(PILImage.fromarray, shots())),
}

FUNCTIONS: dict[str, Callable[[Model, Any], Tensor]] = {
    "predict": lambda model, images: ins.predict(model, images).logits,
    "explain": lambda model, images: torch.stack(
        [entry.values for entry in ins.explain(model, images, 1, ["gradcam"]).entries]
    ),
    "activations": lambda model, images: ins.activations(model, images, ["relu1"]).values["relu1"],
    "compare": lambda model, images: ins.compare(model, images, "relu2").score,
    "match": lambda model, images: ins.match(model, model, images, ["relu2"]).layers["relu2"].correlation,
    "ablate": lambda model, images: ins.ablate(model, images, "relu2", to="mean").change,
    "connections": lambda model, images: ins.connections(model, "relu2", images).links[0].value,
    "find": lambda model, images: ins.find(model, (shots()[0], (0.1, 0.1, 0.6, 0.6)), images=images).score["relu2"],
    "scan": lambda model, images: ins.scan(model, images, ["relu2"]).layers["relu2"].value,
    "trust": lambda model, images: ins.trust(model, images, ["gradcam"], protocol=Protocol(steps=2)).deletion,
    "patterns": lambda model, images: ins.patterns(model, "relu2:1", steps=1, images=images).examples,
    "interpretability": lambda model, images: (
        interpretability(model, "relu2", images, units=[1], tasks=1, explanations=1).soft
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_form_gives_the_same(function: str, model: Model) -> None:
    wanted = FUNCTIONS[function](model, list(map(PILImage.fromarray, shots())))
    for form, make in FORMS.items():
        found = FUNCTIONS[function](model, make(model))
        assert torch.allclose(found.float(), wanted.float(), atol=1e-4, equal_nan=True), form


def test_one_image(model: Model) -> None:
    wanted = ins.predict(model, PILImage.fromarray(shots()[0])).logits
    one = fed(model)[0]
    for form in (one, one[None], [one], one.half(), torch.from_numpy(shots()[0]), torch.from_numpy(shots()[0].copy())):
        found = ins.predict(model, form)
        assert torch.allclose(found.logits, wanted, atol=0.01)
        assert found.names == ("image 0",)


def test_names_and_labels(model: Model) -> None:
    assert ins.predict(model, fed(model)).names == tuple(f"image {i}" for i in range(COUNT))
    for form in ("with labels", "lists with labels", "a dict", "a loader"):
        assert ins.predict(model, FORMS[form](model)).ground_truth == (0, 1, 2, 3)
    assert ins.predict(model, fed(model)).ground_truth == (-1,) * COUNT
    mixed = [fed(model)[0], list(fed(model)[1:3]), fed(model)[3:]]
    assert ins.predict(model, mixed).names == tuple(f"image {i}" for i in range(COUNT))


def test_what_was_assumed_is_said(model: Model) -> None:
    taken = f"float tensors are read as the network's own input, already normalised: {COUNT}"
    doubt = (
        f"{taken}; but all of them lie between 0 and 1, as if they were not normalised: if so, give uint8 pixels or "
        "PIL images, or normalise them with mean 0.5, 0.4, 0.3 and std 0.2, 0.3, 0.4"
    )
    for function in (lambda x: ins.predict(model, x), lambda x: ins.explain(model, x), lambda x: ins.scan(model, x)):
        assert function(fed(model)).notes == (taken,)
        assert function(torch.rand(COUNT, 3, 24, 24)).notes == (doubt,)
        assert function(torch.from_numpy(shots())).notes == ()
    plain = ins.load(model.net, input=InputSpec(24, 24))
    assert ins.predict(plain, torch.rand(COUNT, 3, 24, 24)).notes == (taken,)
    loader = FORMS["a loader"](model)
    assert ins.predict(model, loader).notes == (
        "the DataLoader's data set is read once, in its own order", taken,
    )  # fmt: skip


WRONG: dict[str, tuple[Any, str]] = {
    "sparse": (torch.zeros(3, 24, 24).to_sparse(), "a sparse_coo tensor is not an image"),
    "meta": (torch.zeros(3, 24, 24, device="meta"), "a meta tensor is not an image"),
    "bool": (torch.zeros(3, 24, 24, dtype=torch.bool), "a bool tensor is not an image: give uint8 pixels"),
    "int64": (torch.zeros(3, 24, 24, dtype=torch.int64), "a int64 tensor is not an image: give uint8 pixels"),
    "complex": (torch.zeros(3, 24, 24, dtype=torch.complex64), "a complex64 tensor is not an image"),
    "NaN": (torch.full((3, 24, 24), torch.nan), "1,728 of the 1,728 values of the tensor are NaN or infinite"),
    "infinite": (torch.zeros(3, 24, 24).index_fill(0, torch.tensor(1), torch.inf), "576 of the 1,728 values"),
    "size": (torch.zeros(3, 16, 16), r"\(3, 16, 16\) but the network takes \(3, 24, 24\).*give uint8 pixels"),
    "channels last": (torch.zeros(24, 24, 3), r"write x\.permute\(2, 0, 1\)"),
    "grey": (torch.zeros(1, 24, 24), r"\(1, 24, 24\) but the network takes"),
    "flat": (torch.zeros(24), r"of shape \(24,\) is not an image: give \(C, H, W\)"),
    "number": (torch.tensor(1.0), r"of shape \(\) is not an image"),
    "five": (torch.zeros(1, 1, 3, 24, 24), "is not an image"),
    "empty": (torch.zeros(0, 3, 24, 24), "no images given"),
    "no side of channels": (torch.zeros(7, 24, 24, dtype=torch.uint8), "has no axis of 1 or 3 or 4 channels"),
    "array of ints": (np.zeros((24, 24, 3), np.int64), r"array of int64 \(24, 24, 3\) is not an image"),
    "array, bands first": (np.zeros((3, 24, 24)), "put the bands last with np.moveaxis"),
    "nothing": (None, "no images given"),
    "a number": (7, "images=7 of type int: give files"),
    "an address": ("https://example.org/a.png", "no such file; URLs are not downloaded"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("function", ["predict", "explain", "scan"])
def test_what_is_no_image(kind: str, function: str, model: Model) -> None:
    images, sentence = WRONG[kind]
    with pytest.raises(InnersightError, match=sentence):
        FUNCTIONS[function](model, images)


def test_one_of_several_that_is_no_image_is_skipped(model: Model) -> None:
    found = ins.predict(model, [fed(model)[0], torch.full((3, 24, 24), torch.nan), fed(model)[1]])
    assert found.names == ("image 0", "image 2")
    assert found.skipped == ("image 1: 1,728 of the 1,728 values of the tensor are NaN or infinite",)


def test_thin_images_whose_channels_might_be_either_side() -> None:
    spec = InputSpec(24, 24)
    for shape, size in (((3, 40, 3), (3, 40)), ((3, 40, 4), (4, 40)), ((1, 9, 3), (9, 1)), ((4, 9, 1), (1, 9))):
        (one,) = read(torch.zeros(shape, dtype=torch.uint8), spec).images
        assert (one.width, one.height) == size, shape


def test_networks_that_are_fed_otherwise_see_the_same_image(model: Model) -> None:
    spec = replace(model.input, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    other = replace(tiny("in-place", seed=3), input=spec)
    wanted, found = (ins.match(other, model, images, ["relu2"]) for images in (shots(), fed(model)))
    assert torch.allclose(found.layers["relu2"].correlation, wanted.layers["relu2"].correlation, atol=1e-4)
    # The other way round they are the input of the second.
    assert not torch.allclose(
        ins.match(model, other, fed(model), ["relu2"]).layers["relu2"].correlation,
        ins.match(model, other, shots(), ["relu2"]).layers["relu2"].correlation, atol=1e-4,
    )  # fmt: skip


def test_nothing_is_cropped_from_a_network_input(model: Model) -> None:
    spec = replace(model.input, crop=0.5)
    (one,) = read(fed(model)[0], spec).images
    assert one.box(spec) == PixelBox(0, 0, 24, 24)
    assert one.tensor(spec).equal(fed(model)[0])
    assert np.abs(np.asarray(one.seen(spec)).astype(int) - shots()[0]).max() <= 1


def test_tensors_stay_as_they_are(model: Model) -> None:
    given = fed(model).requires_grad_()
    before = given.detach().clone()
    held = ins.activations(model, given, ["relu1"]).images[0]
    assert given.requires_grad
    assert given.grad is None
    assert given.equal(before)
    with torch.no_grad():
        given.zero_()
    assert held.tensor(model.input).equal(before[0])


def test_loaders_that_change_what_the_data_set_holds() -> None:
    dataset = TensorDataset(torch.zeros(4, 3, 24, 24))
    model = tiny("in-place")
    for loader, what in (
        (DataLoader(dataset, sampler=[0, 1]), "sampler"),
        (DataLoader(dataset, sampler=RandomSampler(dataset, replacement=True)), "sampler"),
        (DataLoader(dataset, sampler=RandomSampler(dataset, num_samples=2)), "sampler"),
        (DataLoader(dataset, batch_sampler=BatchSampler([0, 1], 2, False)), "sampler"),
        (DataLoader(dataset, collate_fn=list), "collate_fn"),
    ):
        with pytest.raises(InnersightError, match=f"has a {what} of its own.*give images=loader.dataset"):
            ins.predict(model, loader)
    for loader in (
        DataLoader(dataset, batch_size=None),
        DataLoader(dataset, batch_sampler=BatchSampler(SequentialSampler(dataset), 2, False)),
        DataLoader(dataset, 3, shuffle=True, drop_last=True),
    ):
        assert len(ins.predict(model, loader).names) == 4


def test_single_images_of_other_parameters(model: Model) -> None:
    one = fed(model)[1]
    like = PILImage.fromarray(shots()[1])
    first, second = (ins.explain(model, shots(), methods=["gradcam"], like=image) for image in (one, like))
    assert all(
        torch.allclose(a.values, b.values, atol=1e-4) for a, b in zip(first.entries, second.entries, strict=True)
    )
    box = (0.1, 0.1, 0.6, 0.6)
    assert ins.find(model, (one, box)).order == ins.find(model, (like, box)).order
    for kind in ("reference", "init"):
        what = "inversion(relu2)" if kind == "reference" else "relu2:1"
        assert ins.patterns(model, what, steps=1, **{kind: one}).images.isfinite().all()
    with pytest.raises(ImageError, match="like: give one image, not several"):
        ins.explain(model, shots(), like=fed(model))


def test_a_study_of_tensors_is_computed_further(model: Model, tmp_path: Path) -> None:
    made = ins.study(model, fed(model), tmp_path / "s", plan=Plan(units=0, steps=1, trust=0))
    assert made.notes == (f"float tensors are read as the network's own input, already normalised: {COUNT}",)
    assert list(compute(tmp_path / "s", parse_request({"kind": "activations", "layer": "relu1"}), model=model))
    again = ins.study(model, fed(model), tmp_path / "s", plan=Plan(units=0, steps=1, trust=0))
    assert again.computed == 0
    assert Study.open(tmp_path / "s").report(tmp_path / "r.html").stat().st_size


def test_networks_of_one_channel() -> None:
    model = ins.load(InPlace(1).eval(), input=InputSpec(24, 24, 1, (0.5,), (0.25,)))
    grey = shots()[0, :, :, 0]
    wanted = ins.predict(model, PILImage.fromarray(grey)).logits
    inputs = model.input.normalise(torch.from_numpy(grey)[None, None] / 255)
    for form in (inputs, inputs[0], inputs[0, 0], torch.from_numpy(grey), torch.from_numpy(grey)[None], grey):
        assert torch.allclose(ins.predict(model, form).logits, wanted, atol=1e-5)
