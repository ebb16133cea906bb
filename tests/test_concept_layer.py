"""Concepts as a layer: every function that reads, changes or draws units does so with concepts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from networks import batch, image, tiny
from torch import Tensor, nn

import innersight as ins
from innersight import tap
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.layers import default_layers
from innersight.model import Inserted, Model
from innersight.patterns.objectives import resolve
from innersight.patterns.objectives.direction import driven
from innersight.tap import ConceptLayer

NETWORKS = ("in-place", "dense", "tokens", "channels-last")
"""Locations in maps, written over in place; read again later; in tokens behind a class token; units last."""


class Tokens(nn.Module):
    """A class token before four rows of four tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 6, 8, stride=8)
        self.block = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.cut(x).flatten(2).transpose(1, 2)
        rows = torch.cat([rows.mean(1, keepdim=True), rows], 1)
        return self.head(self.block(rows).relu()[:, 1:].mean(1))


class Last(nn.Module):
    """Units are the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 6, 4, stride=4)
        self.block = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.cut(x).permute(0, 2, 3, 1)).relu().mean((1, 2)))


@dataclass(frozen=True, eq=False)
class Projecting:
    """The plainest coder: rectified projections."""

    directions: Tensor

    def encode(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.directions.T.to(vectors)).relu()


@dataclass(frozen=True, eq=False)
class Sets:
    layers: tuple[ConceptLayer, ...]

    def inserted(self) -> Iterable[Inserted]:
        return self.layers


def of(name: str) -> Model:
    torch.manual_seed(3)
    own = {"tokens": Tokens, "channels-last": Last}
    return (
        Model(own[name]().eval(), InputSpec(32, 32), ("a", "b", "c", "d"), name, "a test")
        if name in own
        else tiny(name)
    )


def some(model: Model, layer: str, *, count: int = 3, name: str = "own", seed: int = 0) -> Sets:
    units = tap.layout(model, layer).units
    directions = torch.randn(count, units, generator=torch.Generator().manual_seed(seed))
    return Sets((ConceptLayer.of(name, layer, Projecting(nn.functional.normalize(directions, dim=1))),))


def layer_of(model: Model) -> str:
    return "block" if hasattr(model.net, "block") else default_layers(model)[-1]


def values(model: Model, x: Tensor, layer: str) -> Tensor:
    with tap.untouched(model), torch.no_grad():
        return tap.capture(model, x, [layer]).activations[layer]


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest) -> Model:
    return of(request.param)


def test_concepts_are_read_at_every_location(model: Model) -> None:
    layer, x = layer_of(model), batch(model)
    sets = some(model, layer)
    found = values(model.with_concepts(sets), x, f"{layer}~own")
    directions = sets.layers[0].directions
    expected = torch.einsum("buhw,ku->bkhw", values(model, x, layer).double(), directions.double()).relu()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_reading_concepts_changes_no_score(model: Model) -> None:
    layer, x = layer_of(model), batch(model)
    changed = model.with_concepts(some(model, layer))
    with tap.untouched(model), torch.no_grad():
        plain = model.logits(x)
        read = tap.capture(changed, x, [f"{layer}~own", layer], stop=False)
        assert torch.equal(changed.logits(x), plain)
    # Written back, tokens lie in memory in another order: products sum in another one too.
    torch.testing.assert_close(read.logits(), plain, rtol=1e-6, atol=1e-7)
    assert torch.equal(read.activations[layer], values(model, x, layer))


def test_removing_a_concept_removes_what_it_adds_to_the_layer(model: Model) -> None:
    layer, x = layer_of(model), batch(model)
    sets = some(model, layer)
    directions = sets.layers[0].directions
    images = [one.permute(1, 2, 0).mul(255).byte().numpy() for one in torch.rand(2, *model.input.shape)]
    found = ins.ablate(model, images, f"{layer}~own", concepts=sets)
    x = torch.stack([one.tensor(model.input) for one in ins.activations(model, images, layer).images])
    for concept in range(3):

        def without(maps: Tensor, concept: int = concept) -> Tensor:
            own = torch.einsum("buhw,u->bhw", maps, directions[concept]).relu()
            return maps - torch.einsum("bhw,u->buhw", own, directions[concept])

        with tap.untouched(model), torch.no_grad():
            expected = tap.replace(model, x, layer, without) - model.logits(x)
        torch.testing.assert_close(found.change[:, concept], expected, rtol=1e-3, atol=1e-5)


def test_the_suffix_behind_concepts_is_that_of_full_runs(model: Model) -> None:
    layer, x = f"{layer_of(model)}~own", batch(model)
    changed = model.with_concepts(some(model, layer_of(model)))
    with tap.untouched(model), torch.no_grad():
        suffix = tap.resume(changed, x, layer)
        variants = suffix.activation * 0.3
        torch.testing.assert_close(suffix(variants), tap.replace(changed, x, layer, lambda _: variants.clone()))
    assert suffix.mode != "full"


def test_the_slope_of_a_concept_is_that_along_its_direction(model: Model) -> None:
    layer, x = layer_of(model), batch(model)
    sets = some(model, layer)
    changed = model.with_concepts(sets)
    with tap.untouched(model):
        there = tap.leaf(changed, x, [f"{layer}~own"])
        (slope,) = torch.autograd.grad(there.logits()[:, 1].sum(), [there.activations[f"{layer}~own"]])
        plain = tap.leaf(model, x, [layer])
        (units,) = torch.autograd.grad(plain.logits()[:, 1].sum(), [plain.activations[layer]])
    expected = torch.einsum("buhw,ku->bkhw", units, sets.layers[0].directions)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-7)


def test_no_hook_is_left_behind(model: Model) -> None:
    layer = layer_of(model)
    changed = model.with_concepts(some(model, layer))

    def fail(_: Tensor) -> Tensor:
        raise ZeroDivisionError

    with tap.untouched(model), torch.no_grad(), pytest.raises(ZeroDivisionError):
        tap.replace(changed, batch(model), f"{layer}~own", fail)
    assert not any(module._forward_hooks for module in model.net.modules())
    assert not changed.module(f"{layer}~own")._forward_hooks


def test_a_pattern_is_drawn_along_the_direction_and_scored_by_the_concept() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    sets = some(model, layer)
    (named,) = resolve(model.with_concepts(sets), f"{layer}~own:1")
    (term,) = driven(named).terms
    assert (str(named), term.kind, str(term.address)) == (f"{layer}~own:1", "direction", layer)
    assert isinstance(term.given, Tensor)
    assert torch.equal(term.given, sets.layers[0].directions[1])
    pixels = torch.rand(3, *model.input.shape)
    found = ins.patterns(model, f"{layer}~own:1", concepts=sets, steps=4, images=pixels)
    maps = ins.activations(model, pixels, f"{layer}~own", concepts=sets).values[f"{layer}~own"][:, 1]
    assert found.scores[0].natural == pytest.approx(float(maps.max()), rel=1e-5)


def test_finished_patterns_of_another_set_of_one_name_are_not_taken(tmp_path: Any) -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    settings = {"steps": 2, "keep": tmp_path, "seeds": 1}
    first, second = (
        ins.patterns(model, f"{layer}~own:0", concepts=some(model, layer, seed=seed), **settings) for seed in (0, 1)
    )
    assert not torch.equal(first.images, second.images)


def test_connections_state_the_direction_and_attribute_over_images() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    sets = some(model, layer)
    found = ins.connections(model, f"{layer}~own:2", [image(0), image(1)], concepts=sets)
    (weights,) = [link for link in found.links if link.by == "weight"]
    assert weights.layer == layer
    torch.testing.assert_close(weights.value[0], sets.layers[0].directions[2])
    assert [link.direction for link in found.links if link.by != "weight"] == ["in", "out"]


def test_layers_lists_concepts_behind_their_layer_and_defaults_leave_them_out() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    changed = model.with_concepts(some(model, layer))
    names = [one.name for one in ins.layers(changed, all=True, measure=False)]
    assert names[names.index(layer) + 1] == f"{layer}~own"
    assert default_layers(changed) == default_layers(model)


def test_errors_name_what_is_missing() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    images = torch.rand(1, *model.input.shape)
    with pytest.raises(InnersightError, match="concepts= "):
        ins.activations(model, images, f"{layer}~nmf")
    with pytest.raises(InnersightError, match=f"did you mean.*{layer}~own"):
        ins.activations(model, images, f"{layer}~owm", concepts=some(model, layer))
    with pytest.raises(InnersightError, match="two sets of concepts are named"):
        ins.activations(model, images, f"{layer}~own", concepts=[some(model, layer), some(model, layer)])
    with pytest.raises(InnersightError, match="has no layer 'elsewhere'"):
        model.with_concepts(Sets((ConceptLayer.of("own", "elsewhere", Projecting(torch.ones(2, 3))),)))
    with pytest.raises(InnersightError, match="a layer of 3 units"):
        ins.activations(
            model, images, f"{layer}~own", concepts=Sets((ConceptLayer.of("own", layer, Projecting(torch.ones(2, 3))),))
        )
    with pytest.raises(InnersightError, match="concepts is 'study/'"):
        ins.activations(model, images, concepts="study/")
    with pytest.raises(InnersightError, match="units 0-2"):
        ins.patterns(model, f"{layer}~own:3", concepts=some(model, layer))


def test_digests_depend_on_the_concepts() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    one, other = (model.with_concepts(some(model, layer, seed=seed)).digest() for seed in (0, 1))
    assert len({model.digest(), one, other}) == 3


def test_what_was_measured_of_a_network_is_measured_again_after_a_change() -> None:
    model = tiny("in-place")
    layer = layer_of(model)
    sets, images = some(model, layer), torch.rand(1, *model.input.shape)
    before = ins.activations(model, images, f"{layer}~own", concepts=sets)
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.mul_(2)
    after = ins.activations(model, images, f"{layer}~own", concepts=sets)
    assert not torch.equal(before.values[f"{layer}~own"], after.values[f"{layer}~own"])
