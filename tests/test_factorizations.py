"""Factorizations of activation vectors: what each promises, what is refused, and what is kept."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations import (
    Factorization,
    choose_count,
    explained,
    factorizations,
    fit,
    stability,
)
from innersight.factorizations.agreement import halves, match
from innersight.factorizations.fitting import checked_vectors
from innersight.factorizations.kinds import sae

NAMES = list(factorizations)


def parts(count: int = 400, concepts: int = 4, units: int = 12, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Vectors that are sums of few of some directions of 0 or more, and those directions."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.rand(concepts, units, generator=random) ** 4
    codes = torch.rand(count, concepts, generator=random) * (torch.rand(count, concepts, generator=random) < 0.4)
    return codes @ directions, directions / directions.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name: str) -> None:
    entry = factorizations.entry(name)
    assert re.match(r"[A-Za-z-].{3,50}$", entry.title)
    assert re.search(r"[A-Z].* (19|20)\d\d", entry.source)
    assert len(entry.use) > 20
    assert len(entry.limits) > 20
    assert len(entry.summary) > 20
    assert all(len(option.help) > 5 for option in entry.options)
    assert callable(entry.encode)


@pytest.mark.parametrize("name", NAMES)
def test_explains_most_of_sums_of_few_directions(name: str) -> None:
    vectors, _ = parts()
    found = fit(vectors, name, 4)
    assert (found.kind, found.concepts, found.units) == (name, 4, 12)
    assert found.directions.dtype == found.offset.dtype == torch.float32
    assert torch.allclose(found.directions.norm(dim=1), torch.ones(4), atol=1e-6)
    assert explained(found, vectors).total > 0.5
    size = found.encode(vectors).square().sum(0)
    assert bool((size.diff() <= 0).all())


def test_nmf_finds_the_directions_that_were_summed() -> None:
    vectors, truth = parts()
    assert match(truth, fit(vectors, "nmf", 4).directions)[1].min() > 0.98


def test_seminmf_explains_signed_vectors_better_with_every_round() -> None:
    codes = torch.rand(400, 4, generator=torch.Generator().manual_seed(3))
    vectors = codes @ torch.randn(4, 12, generator=torch.Generator().manual_seed(4))
    missing = [1 - explained(fit(vectors, "seminmf", 4, rounds=rounds), vectors).total for rounds in (0, 1, 3, 30)]
    assert missing == sorted(missing, reverse=True)
    assert missing[-1] < missing[0] / 4
    with pytest.raises(InnersightError, match="rounds=-1: give 0 or more"):
        fit(vectors, "seminmf", 4, rounds=-1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e8, 1e30])
def test_directions_do_not_depend_on_the_size_of_activations(name: str, size: float) -> None:
    vectors = parts()[0].double()
    one, other = (fit(given, name, 4) for given in (vectors, vectors * size))
    assert torch.allclose(one.directions, other.directions, atol=1e-4)
    assert torch.allclose(one.encode(vectors), other.encode(vectors * size) / size, atol=1e-4)
    assert explained(one, vectors).total == pytest.approx(explained(other, vectors * size).total, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_the_global_one_is_left_alone(name: str) -> None:
    vectors, _ = parts()
    before = torch.get_rng_state()
    one = fit(vectors, name, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    with torch.inference_mode():
        assert torch.equal(fit(vectors, name, 4, seed=5).directions, one.directions)
    assert one.settings["seed"] == 5


def test_seeds_differ() -> None:
    vectors, _ = parts(concepts=9)
    one, other = (fit(vectors, "sae", 6, steps=20, seed=seed) for seed in (0, 1))
    assert not torch.allclose(one.directions, other.directions)


@pytest.mark.parametrize("name", NAMES)
def test_codes_do_not_depend_on_the_batch(name: str) -> None:
    vectors, _ = parts(100)
    found = fit(vectors, name, 4)
    together = found.encode(vectors)
    assert torch.allclose(torch.cat([found.encode(one[None]) for one in vectors]), together, atol=1e-6)
    assert found.encode(vectors[:0]).shape == (0, 4)
    broken = vectors.clone()
    broken[7, 3] = float("inf")
    codes = found.encode(broken)
    assert bool(codes[7].isnan().all())
    assert torch.allclose(codes[8:], together[8:], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_codes_have_the_precision_of_the_vectors(name: str, dtype: torch.dtype) -> None:
    vectors, _ = parts(50)
    found = fit(vectors.to(dtype), name, 4)
    codes = found.encode(vectors.to(dtype))
    assert codes.dtype == found.decode(codes).dtype == dtype
    assert torch.allclose(codes.double(), found.encode(vectors.to(dtype).double()), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_codes_have_the_gradients_of_differences(name: str) -> None:
    vectors, _ = parts(60)
    found = fit(vectors, name, 4)
    # Not at the corner where a concept enters, nor where the rectification bends.
    some = (vectors[:5] + 0.05 * torch.rand(5, 12)).double().requires_grad_()
    assert bool(found.encode(some).any())
    assert torch.autograd.gradcheck(found.encode, some)
    assert torch.autograd.gradcheck(found.decode, found.encode(some).detach().requires_grad_())


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "nan": (lambda v: v.index_fill(0, torch.tensor([2, 5]), float("nan")), r"2 of 400 vectors contain nan or infinity"),
    "infinity": (lambda v: v.index_fill(0, torch.tensor([2]), float("-inf")), r"1 of 400 vectors contain nan or inf"),
    "zero": (lambda v: 0 * v, r"all activations are zero, .*choose another layer"),
    "equal": (lambda v: v[3].repeat(20, 1), r"all vectors are equal"),
    "maps": (lambda v: v[:, :, None], r"a Tensor of shape \(400, 12, 1\): give a tensor of shape \(N, units\)"),
    "none": (lambda v: v[:0], r"without an empty side"),
    "no units": (lambda v: v[:, :0], r"without an empty side"),
    "truth values": (lambda v: v > 0, r"vectors hold torch.bool: give real numbers"),
    "few": (lambda v: v[:3], r"count=4: 3 vectors of 12 units have at most [23] concepts by [a-z]+; give more images"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_factorized_is_refused(name: str, case: str) -> None:
    change, message = REFUSED[case]
    with pytest.raises(InnersightError, match=message):
        fit(change(parts()[0]), name, 4)


def test_an_array_is_not_a_tensor() -> None:
    with pytest.raises(InnersightError, match=r"vectors are a ndarray of shape \(400, 12\): give a tensor"):
        checked_vectors(parts()[0].numpy())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": "nnmf"}, r"no factorization 'nnmf'; did you mean nmf"),
        ({"count": 0}, r"count=0: give 1 or more"),
        ({"count": "many"}, r"count='many': give a whole number, or 'auto'"),
        ({"count": True}, r"count is True: give a whole number"),
        ({"seed": -1}, r"seed=-1"),
        ({"steps": 3}, r"factorization nmf has no option 'steps'"),
        ({"by": "sae", "active": 9}, r"active=9: give 1 to 4, the number of concepts"),
        ({"by": "sae", "steps": 0}, r"sae: steps=0: give 1 or more"),
        ({"by": "nmf", "count": 13}, r"count=13: 400 vectors of 12 units have at most 12 concepts by nmf"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InnersightError, match=message):
        fit(parts()[0], **{"count": 4, **changes})


def test_too_few_directions_in_the_vectors() -> None:
    vectors = torch.eye(12)[:3].repeat(9, 1) * torch.rand(27, 1)
    with pytest.raises(InnersightError, match=r"fewer than 5 directions: give a smaller count"):
        fit(vectors, "kmeans", 5)
    with pytest.raises(InnersightError, match=r"vary along 3 directions: give at most 3"):
        fit(vectors, "pca", 5)
    with pytest.raises(InnersightError, match=r"1 of the vectors are not zero, for 2 concepts"):
        fit(torch.eye(12) * torch.eye(12)[0], "kmeans", 2)


def test_what_lies_below_zero_is_left_out_by_nmf_and_said() -> None:
    vectors, _ = parts()
    signed = torch.cat([vectors, -vectors[:100]])
    found = fit(signed, "nmf", 4)
    share = float(vectors[:100].square().sum() / signed.square().sum())
    assert found.notes == (f"{share:.1%} of the activations' squared size lies below zero and is left out",)
    assert bool((found.encode(-vectors) == 0).all())
    assert fit(vectors, "nmf", 4).notes == ()
    with pytest.raises(InnersightError, match=r"no activation is above zero.*use seminmf, pca, kmeans or sae"):
        fit(-vectors, "nmf", 4)


@pytest.mark.parametrize("name", NAMES)
def test_units_that_are_constant_are_counted(name: str) -> None:
    vectors, _ = parts()
    vectors[:, 2], vectors[:, 5] = 0, 0
    found = fit(vectors, name, 4)
    assert "2 of 12 units are constant" in found.notes
    assert bool((found.directions[:, 2].abs() < 1e-6).all())


def test_concepts_of_an_autoencoder_that_no_vector_uses_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = parts(concepts=8)
    vectors[:, 7] = 0

    def away(vectors: Tensor, count: int, *_: int) -> Tensor:
        start = vectors[:count].clone()
        start[1:] = torch.eye(12)[7]
        return start

    monkeypatch.setattr(sae, "clusters", away)
    found = fit(vectors, "sae", 6, active=2, steps=300)
    assert found.notes == ("1 of 12 units are constant",)
    assert bool(found.encode(vectors).any(0).all())
    monkeypatch.setattr(sae, "REVIVED", 0)
    _, note = fit(vectors, "sae", 6, active=2, steps=300).notes
    assert re.match(r"5 of 6 concepts are used by no vector", note)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(name: str) -> None:
    vectors, _ = parts()
    found = fit(vectors - 0.1, name, 4)
    data, tensors = found.state()
    again = Factorization.of(json.loads(json.dumps(data)), load(save(tensors)))
    assert (again.kind, again.notes, again.settings) == (found.kind, found.notes, found.settings)
    assert torch.equal(again.encode(vectors), found.encode(vectors))
    assert torch.equal(again.decode(again.encode(vectors)), found.decode(found.encode(vectors)))


DAMAGED: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "kind": (lambda d, t: d.update(kind="pcb"), r"no factorization 'pcb'; did you mean pca"),
    "kind's type": (lambda d, t: d.update(kind=3), r"kind is 3: give one of kmeans, nmf"),
    "nothing": (lambda d, t: d.clear(), r"has kind, notes and settings, not none"),
    "notes": (lambda d, t: d.update(notes=[1]), r"notes are \[1\]: give a list of texts"),
    "settings": (lambda d, t: d.update(settings=[]), r"settings are \[\]: give values by their names"),
    "a setting": (lambda d, t: d["settings"].update(nonsense=1), r"has no setting nonsense=1"),
    "a setting's type": (lambda d, t: d["settings"].update(seed="0"), r"has no setting seed='0'"),
    "a seed": (lambda d, t: d["settings"].update(seed=-3), r"seed=-3"),
    "no seed": (lambda d, t: d["settings"].clear(), r"settings are \{\}: seed is missing"),
    "missing": (lambda d, t: t.pop("offset"), r"has the tensors .*offset.*, not "),
    "left over": (lambda d, t: t.update(more=torch.zeros(1)), r"has the tensors .*, not .*more"),
    "no tensor": (lambda d, t: t.update(offset=[0.0]), r"offset is \[0\.0\]: its shape must be \(12,\)"),
    "no directions": (
        lambda d, t: t.update(directions=torch.ones(3)),
        r"directions are a Tensor of shape \(3,\): give",
    ),
    "empty": (lambda d, t: t.update(directions=torch.zeros(0, 12)), r"directions are .*: give \(concepts, units\)"),
    "shape": (lambda d, t: t.update(offset=torch.zeros(5)), r"offset is a Tensor of shape \(5,\): its shape must be"),
    "precision": (lambda d, t: t.update(offset=t["offset"].double()), r"offset holds torch.float64: it must hold"),
    "nan": (lambda d, t: t["offset"].fill_(float("nan")), r"offset contains values that are not finite"),
    "length": (lambda d, t: t["directions"][1].mul_(2), r"a direction has another length than 1"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", list(DAMAGED))
def test_what_is_damaged_is_refused(name: str, case: str) -> None:
    data, tensors = fit(parts()[0], name, 4, **({"steps": 5} if name == "sae" else {})).state()
    damage, message = DAMAGED[case]
    damage(data, tensors)
    with pytest.raises(InnersightError, match=message):
        Factorization.of(data, tensors)


@pytest.mark.parametrize("active", [0, 5, -1])
def test_an_autoencoder_with_a_wrong_number_of_active_concepts_is_refused(active: int) -> None:
    data, tensors = fit(parts()[0], "sae", 4, steps=5).state()
    tensors["active"] = torch.tensor(active)
    with pytest.raises(InnersightError, match=rf"active={active}: give 1 to 4"):
        Factorization.of(data, tensors)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_of_vectors_and_codes_are_named(name: str) -> None:
    found = fit(parts()[0], name, 4)
    with pytest.raises(InnersightError, match=rf"vectors of shape \(3, 4\): {name} takes \(N, 12\)"):
        found.encode(torch.rand(3, 4))
    with pytest.raises(InnersightError, match=rf"codes of shape \(3, 12\): {name} has \(N, 4\)"):
        found.decode(torch.rand(3, 12))
    with pytest.raises(InnersightError, match=r"vectors of 4 units: the factorization has 12"):
        explained(found, torch.rand(3, 4))


@pytest.mark.parametrize("name", NAMES)
def test_stability_is_high_for_what_is_there_and_low_for_what_is_not(name: str) -> None:
    there = torch.eye(6)[:4].repeat(50, 1) * torch.rand(200, 1) * torch.tensor([4.0, 3, 2, 1]).repeat(50)[:, None]
    found = stability(there, fit(there, name, 3 if name == "pca" else 4), seeds=2)
    assert found.seeds.shape == found.halves.shape
    assert found.halves.mean() > 0.8
    noise = torch.randn(200, 40)
    found = stability(noise, fit(noise, name, 8), seeds=2)
    assert found.halves.mean() < 0.75


def test_stability_is_of_the_concept_whose_number_it_bears() -> None:
    random = torch.Generator().manual_seed(0)
    vectors = torch.zeros(400, 20)
    vectors[:, 0] = 5 * torch.rand(400, generator=random) * (torch.rand(400, generator=random) < 0.5)
    vectors[:, 4:] = torch.rand(400, 16, generator=random)
    found = fit(vectors, "nmf", 6)
    clear = int(found.directions[:, 0].argmax())
    assert int(stability(vectors, found, seeds=2).halves.argmax()) == clear


def test_an_image_lies_in_one_half_only() -> None:
    groups = torch.arange(30).repeat_interleave(7)
    first = halves(210, groups, 0)
    assert first.sum() == 105
    assert all(len(set(first[groups == i].tolist())) == 1 for i in range(30))
    assert not torch.equal(first, halves(210, groups, 1))
    with pytest.raises(InnersightError, match=r"groups have shape \(3,\): .* 210 vectors"):
        halves(210, torch.arange(3), 0)
    with pytest.raises(InnersightError, match=r"all vectors are from one image"):
        halves(210, torch.zeros(210, dtype=torch.int64), 0)


@given(order=st.permutations(range(5)), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_directions_find_their_partner_in_any_order(order: list[int], seed: int) -> None:
    one = torch.nn.functional.normalize(torch.randn(5, 9, generator=torch.Generator().manual_seed(seed)), dim=1)
    partner, cosine = match(one, one[order])
    assert [order[i] for i in partner] == list(range(5))
    assert torch.allclose(cosine, torch.ones(5))


def test_the_count_is_the_one_that_both_halves_agree_on() -> None:
    vectors, _ = parts(600, 5, 24)
    vectors = vectors + 0.02 * torch.rand(600, 24)
    count, table = choose_count(vectors, "nmf", [2, 5, 12])
    assert count == 5
    assert [row.count for row in table] == [2, 5, 12]
    two, five, twelve = table
    assert two.explained < 0.95 * five.explained
    assert five.stability > 0.9 > twelve.stability
    assert fit(vectors, "nmf", "auto").concepts in range(4, 9)


def test_where_no_count_is_stable_the_most_stable_is_taken() -> None:
    noise = torch.rand(60, 30)
    count, table = choose_count(noise, "nmf", [6, 3, 900])
    assert [row.count for row in table] == [3, 6]
    assert all(row.stability < 0.9 for row in table)
    assert count == max(table, key=lambda row: row.stability).count
    with pytest.raises(InnersightError, match=r"counts 900: half of the vectors have at most 30 concepts"):
        choose_count(noise, "nmf", [900])
    with pytest.raises(InnersightError, match=r"seeds=1: give 2 or more"):
        stability(noise, fit(noise, "pca", 3), seeds=1)
