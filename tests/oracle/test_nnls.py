"""Non-negative least squares against SciPy's, one vector at a time, and derivatives against differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations import nnls as module
from innersight.factorizations import solve_nonnegative
from innersight.factorizations.nnls import INVERTIBLE


def drawn(concepts: int, units: int, seed: int, *, signed: bool = False) -> tuple[Tensor, Tensor]:
    """Vectors of very different lengths, and directions."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.rand(concepts, units, generator=random, dtype=torch.float64) ** 3 - 0.5 * signed
    vectors = torch.randn(20, units, generator=random, dtype=torch.float64) + 0.7
    lengths = 10 ** torch.randn(20, 1, generator=random, dtype=torch.float64)
    return vectors * lengths, directions / directions.norm(dim=1, keepdim=True)


def slow(vectors: Tensor, directions: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([nnls(directions.numpy().T, one.numpy(), maxiter=10_000)[0] for one in vectors]))


def condition(directions: Tensor) -> float:
    return float(torch.linalg.cond(directions @ directions.T))


@settings(max_examples=40)
@given(concepts=st.integers(1, 24), more=st.integers(0, 12), signed=st.booleans(), seed=st.integers(0, 10**6))
def test_codes_are_those_of_scipy(concepts: int, more: int, signed: bool, seed: int) -> None:
    vectors, directions = drawn(concepts, concepts + more, seed, signed=signed)
    expected = slow(vectors, directions)
    error = (solve_nonnegative(vectors, directions) - expected) / vectors.norm(dim=1, keepdim=True)
    assert error.abs().max() < 1e-13 * condition(directions) + 1e-7 * (condition(directions) > INVERTIBLE / 100)


@settings(max_examples=40)
@given(concepts=st.integers(2, 30), units=st.integers(1, 12), seed=st.integers(0, 10**6), equal=st.booleans())
def test_what_remains_is_as_small_as_scipys_where_codes_are_not_unique(
    concepts: int, units: int, seed: int, equal: bool
) -> None:
    vectors, directions = drawn(concepts, units, seed)
    if equal:
        directions[1] = directions[0]
    codes = solve_nonnegative(vectors, directions)
    assert bool((codes >= 0).all())
    left, least = ((vectors - one @ directions).norm(dim=1) for one in (codes, slow(vectors, directions)))
    assert bool((left - least <= 1e-7 * vectors.norm(dim=1)).all())
    assert not equal or torch.allclose(codes[:, 0], codes[:, 1], rtol=1e-4, atol=1e-6 * float(vectors.norm()))


def test_many_concepts_of_which_most_are_above_zero() -> None:
    random = torch.Generator().manual_seed(1)
    _, directions = drawn(40, 90, 1)
    vectors = (torch.rand(20, 40, generator=random, dtype=torch.float64) + 0.1) @ directions
    vectors += 0.2 * torch.randn(20, 90, generator=random, dtype=torch.float64)
    expected = slow(vectors, directions)
    assert (expected > 0).double().mean() > 0.8
    assert torch.allclose(solve_nonnegative(vectors, directions), expected, atol=1e-11)


@pytest.mark.parametrize("concepts", [1, 5, 9])
def test_derivatives_of_both_orders_are_those_of_differences(concepts: int) -> None:
    vectors, directions = drawn(concepts, 10, 5)
    some = (vectors / vectors.norm(dim=1, keepdim=True))[:6].requires_grad_()
    codes = solve_nonnegative(some, directions)
    assert bool((codes > 0).any())
    assert concepts == 1 or bool((codes == 0).any())
    assert torch.autograd.gradcheck(lambda x: solve_nonnegative(x, directions), some)
    assert torch.autograd.gradgradcheck(lambda x: solve_nonnegative(x, directions) ** 2, some)


@pytest.mark.parametrize("size", [1e-150, 1e-8, 1e8, 1e150])
def test_codes_scale_with_the_vectors(size: float) -> None:
    vectors, directions = drawn(12, 16, 2)
    expected = solve_nonnegative(vectors, directions)
    assert torch.allclose(solve_nonnegative(vectors * size, directions) / size, expected, rtol=1e-9, atol=1e-12)


def test_what_does_not_settle_is_an_error_and_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, directions = drawn(3, 8, 3)
    monkeypatch.setattr(module, "SETTLED", -1e9)
    with pytest.raises(InnersightError, match=r"codes of 20 vectors do not settle among 3 concepts .*ask for fewer"):
        solve_nonnegative(vectors, directions)


def test_vectors_of_zero_and_of_nan_leave_the_others_alone() -> None:
    vectors, directions = drawn(6, 8, 3)
    vectors[3], vectors[5, 2] = 0, float("nan")
    codes = solve_nonnegative(vectors, directions)
    assert bool((codes[3] == 0).all())
    assert bool(codes[5].isnan().all())
    rest = [i for i in range(20) if i != 5]
    assert torch.equal(codes[rest], solve_nonnegative(vectors[rest], directions))
