"""Objectives are written as texts and sums, checked against the model, and do what they say."""

import importlib
import re
from dataclasses import replace

import pytest
import torch
from networks import image, tiny
from torch.nn import functional as F

from innersight import tap
from innersight.address import Address, ClassAddress
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.model import Model
from innersight.patterns import objectives, patterns
from innersight.patterns.objectives import resolve
from innersight.patterns.objectives.direction import along
from innersight.patterns.responses import ObjectiveBatch, references_of

ON = "conv2"
module = importlib.import_module("innersight.patterns.objectives")


def values(model: Model, what: str, pixels: torch.Tensor, *, peak: bool = False) -> torch.Tensor:
    wanted = resolve(model, [what] * len(pixels), image(3))
    with tap.untouched(model), torch.no_grad():
        references = references_of(model, wanted, (24, 24))
        return ObjectiveBatch(model, wanted, references=references, peak=peak)(pixels)


@pytest.fixture
def model() -> Model:
    return tiny("in-place")


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def maps(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    with tap.untouched(model), torch.no_grad():
        return tap.capture(model, model.input.normalise(pixels), [ON]).activations[ON]


def test_a_layer_alone_stands_for_all_its_units(model: Model) -> None:
    assert [str(one) for one in resolve(model, "conv1")] == [f"conv1:{unit}" for unit in range(6)]
    assert [str(one) for one in resolve(model, Address("conv1", 2))] == ["conv1:2"]
    assert [str(one) for one in resolve(model, ["head:1", ClassAddress("2")])] == ["head:1", "class:cedar"]
    assert [str(one) for one in resolve(model, "-conv1")] == [f"-conv1:{unit}" for unit in range(6)]


@pytest.mark.parametrize(
    "text",
    ["conv2:5", "-conv2:5", "conv2:5@1,2", "conv2:5 - 0.5 * conv1:2", "dream(conv2)", "probability(class:ash)",
     "2 * conv2:1 + class:birch - probability(class:cedar)", "-dream(conv1)"],
)  # fmt: skip
def test_texts_come_back(text: str, model: Model) -> None:
    (found,) = resolve(model, text)
    assert str(found) == text
    (again,) = resolve(model, str(found))
    assert [(t.kind, t.address, t.weight) for t in again.terms] == [(t.kind, t.address, t.weight) for t in found.terms]


@pytest.mark.parametrize(("text", "weight"), [(".5 * conv2:1", 0.5), ("1e-3 * conv2:1", 0.001), ("2. * conv2:1", 2.0)])
def test_weights_are_written_as_numbers_are(text: str, weight: float, model: Model) -> None:
    (found,) = resolve(model, text)
    assert found.terms[0].weight == weight
    assert resolve(model, str(found))[0].terms[0].weight == weight


def test_a_kind_of_ones_own_may_have_any_name(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_entries", dict(objectives._entries))

    @objectives.register("Top", takes="layer")
    def top_2places(rows: module.Rows) -> module.Read:
        """Mean of two places (a test)."""
        return objectives["dream"](rows)

    assert str(resolve(model, "top-2places(conv2)")[0]) == "top-2places(conv2)"


@pytest.mark.parametrize("name", objectives)
def test_every_objective_is_documented_and_drives_an_image(name: str, model: Model) -> None:
    entry = objectives.entry(name)
    assert re.match(r"[A-Z].{3,40}$", entry.title)
    assert len(entry.summary) > 20
    if not entry.example:
        assert entry.given is not None, "what cannot be written needs something that only Python can give"
        return
    text = entry.example.replace("LAYER", "conv2").replace("NAME", "birch")
    (found,) = resolve(model, text, image(3))
    given = {"reference": image(3)} if entry.given is Image else {}
    assert name in {term.kind for term in found.terms}
    score = patterns(model, text, steps=16, seeds=1, **given).scores[0]
    assert score.activation > score.start


def test_a_label_that_looks_like_a_sum(model: Model) -> None:
    named = replace(model, labels=("ash", "salt - pepper", "crane (bird)", "dogwood"))
    assert str(resolve(named, "class:salt - pepper")[0].terms[0].address) == "class:salt - pepper"
    assert resolve(named, "probability(class:crane (bird))")[0].terms[0].kind == "probability"


def test_units_and_places(model: Model, pixels: torch.Tensor, maps: torch.Tensor) -> None:
    assert torch.allclose(values(model, "conv2:5", pixels), maps[:, 5].mean((1, 2)))
    assert torch.allclose(values(model, "conv2:5", pixels, peak=True), maps[:, 5].amax((1, 2)))
    assert torch.allclose(values(model, "-conv2:5", pixels, peak=True), -maps[:, 5].amin((1, 2)))
    assert torch.allclose(values(model, "conv2:5@3,7", pixels), maps[:, 5, 3, 7])


def test_sums(model: Model, pixels: torch.Tensor, maps: torch.Tensor) -> None:
    means = maps.mean((2, 3))
    assert torch.allclose(values(model, "conv2:5 - 0.5 * conv2:7", pixels), means[:, 5] - 0.5 * means[:, 7], atol=1e-6)
    one, other = resolve(model, ["conv2:5", "conv2:7"])
    assert str(2 * one - other) == "2 * conv2:5 - conv2:7"


def test_different_objectives_share_a_batch(model: Model, pixels: torch.Tensor) -> None:
    texts = ["conv2:5", "class:ash", "dream(conv1)"]
    wanted = [resolve(model, text)[0] for text in texts]
    with tap.untouched(model), torch.no_grad():
        together = ObjectiveBatch(model, wanted)(pixels)
    alone = [values(model, text, pixels[i : i + 1]) for i, text in enumerate(texts)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_classes(model: Model, pixels: torch.Tensor) -> None:
    with tap.untouched(model), torch.no_grad():
        logits = model.logits(model.input.normalise(pixels))
    assert torch.allclose(values(model, "class:cedar", pixels), logits[:, 2], atol=1e-6)
    assert torch.allclose(values(model, "probability(class:cedar)", pixels), logits.softmax(1)[:, 2], atol=1e-6)


def test_dream(model: Model, pixels: torch.Tensor, maps: torch.Tensor) -> None:
    assert torch.allclose(values(model, "dream(conv2)", pixels), maps.square().mean((1, 2, 3)))


def test_a_direction_of_one_unit(model: Model, pixels: torch.Tensor, maps: torch.Tensor) -> None:
    vector = torch.zeros(8)
    vector[3] = 5.0
    (wanted,) = resolve(model, along("conv2", vector))
    with tap.untouched(model), torch.no_grad():
        found = ObjectiveBatch(model, [wanted] * 3)(pixels)
    cosine = (maps[:, 3] / maps.norm(dim=1)).clamp(min=0.1)
    assert torch.allclose(found, (maps[:, 3] * cosine**2).mean((1, 2)), atol=1e-5)


def test_inversion_of_an_image_is_best_at_the_image(model: Model) -> None:
    own = model.input.denormalise(image(3).tensor(model.input)[None])
    assert float(values(model, "inversion(conv2)", own)) == pytest.approx(0, abs=1e-6)
    assert float(values(model, "inversion(conv2)", 1 - own)) < -0.05


def test_an_inversion_looks_like_its_image(model: Model) -> None:
    found = patterns(model, "inversion(conv1)", reference=image(3), steps=160, seeds=1)
    own = model.input.denormalise(image(3).tensor(model.input)[None])[0]
    start = patterns(model, "inversion(conv1)", reference=image(3), steps=1, seeds=1).images[0]
    assert (found.images[0] - own).abs().mean() < 0.5 * (start - own).abs().mean()


def test_a_caricature_goes_beyond_its_image(model: Model) -> None:
    own = model.input.denormalise(image(3).tensor(model.input)[None])
    found = patterns(model, "caricature(conv2)", reference=image(3), init=image(3), steps=30, seeds=1)
    assert found.scores[0].activation > float(values(model, "caricature(conv2)", own))
    assert (found.images[0] - own[0]).abs().mean() < 0.4


def test_what_switches_a_unit_off(model: Model) -> None:
    found = patterns(model, "relu2:1,3", steps=40, seeds=1, negatives=True)
    off = found.negatives
    assert off is not None
    assert [str(target) for target in off.targets] == ["-relu2:1", "-relu2:3"]
    with tap.untouched(model), torch.no_grad():
        before = tap.capture(model, model.input.normalise(torch.cat([found.images, off.images])), [ON]).activations[ON]
    means = before.mean((2, 3))
    for row, unit in enumerate((1, 3)):
        # Below its ReLU the unit is driven far down, not only to zero.
        assert means[2 + row, unit] < means[row, unit]
        assert off.scores[row].activation == pytest.approx(-float(before[2 + row, unit].min()), abs=1e-5)
        assert off.scores[row].activation > off.scores[row].start


def test_variants_differ_more_than_without_the_term(model: Model) -> None:
    apart = patterns(model, "relu2:2", variants=3, diversity=20.0, steps=60, seeds=1)
    alike = patterns(model, "relu2:2", variants=3, diversity=0.0, steps=60, seeds=1)
    assert apart.every.shape == (1, 3, 3, 24, 24)

    def likeness(images: torch.Tensor) -> float:
        with tap.untouched(model), torch.no_grad():
            maps = tap.capture(model, model.input.normalise(images), ["relu2"]).activations["relu2"].flatten(2)
        gram = F.normalize((maps @ maps.transpose(1, 2)).flatten(1), dim=1)
        return float((gram @ gram.T)[torch.triu(torch.ones(3, 3), 1) > 0].mean())

    assert likeness(apart.every[0]) < likeness(alike.every[0])


def test_the_first_variant_does_not_depend_on_company(model: Model) -> None:
    alone = patterns(model, "relu2:2", variants=2, steps=8, seeds=1)
    company = patterns(model, ["relu2:1", "relu2:2", "class:ash"], variants=2, steps=8, seeds=1)
    assert torch.equal(alone.every[0], company.every[1])


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("conv2:8", r"conv2:8: conv2 has units 0-7"),
        ("nonsense(conv2)", "no objective 'nonsense'"),
        ("dream(conv2:1)", r"dream takes a whole layer; write dream\(conv2\)"),
        ("probability(conv2:1)", "probability takes class:NAME"),
        ("unit(class:ash)", "unit takes a layer or its units"),
        ("conv2 - conv1:0", r"a sum takes one unit from each address; write conv2:0"),
        ("conv2:0-3 - conv1:0", "a sum takes one unit from each address"),
        ("conv2:0 -", "is not an address"),
        ("caricature(conv2)", "needs an image"),
        (along("conv2", torch.ones(3)), "a direction in conv2 has 8 numbers, not"),
        (along("conv2", torch.zeros(8)), "must be finite and not zero"),
        ("direction(conv2)", "a direction in conv2 has 8 numbers, not None"),
        ("dream(conv9)", "did you mean conv"),
        ("diverse(conv2)", "diverse is no objective by itself"),
    ],
)
def test_errors(what: str, why: str, model: Model) -> None:
    with pytest.raises(InnersightError, match=why):
        resolve(model, what)
