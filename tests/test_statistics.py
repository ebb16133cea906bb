from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from innersight.statistics import bootstrap, fewest, holm, rank_correlations, sign_flip, spearman


def test_bootstrap_against_scipy() -> None:
    values = np.random.default_rng(0).normal(1, 2, 30)
    truth = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap(values, resamples=20000) == pytest.approx(tuple(truth), abs=0.03)
    assert bootstrap([1.0]) is None
    assert bootstrap([1.0, float("inf")]) is None
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0)


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5).map(lambda n: n / 4), min_size=2, max_size=7))
def test_sign_flip_is_exact_for_few(differences: list[float]) -> None:
    truth = scipy.stats.permutation_test(
        (np.array(differences), np.zeros(len(differences))),
        lambda a, b, axis: np.abs(np.sum(a - b, axis=axis)),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=np.inf,
    ).pvalue
    assert sign_flip(differences) == pytest.approx(truth)


def test_sums_equal_on_paper_are_equal() -> None:
    assert 0.1 + 0.2 - 0.3 != 0
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip([0.3, 0.1, 0.2]) == 0.25


def test_sign_flip_of_many_is_close_to_exact() -> None:
    differences = np.random.default_rng(4).normal(0.4, 1, 16)
    flips = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = (np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert sign_flip(differences) == pytest.approx(exact, abs=0.015)
    assert sign_flip(np.ones(40)) == 1 / 10000
    assert sign_flip(np.zeros(40)) == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_by_its_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = sorted(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        at_or_before = [min(1.0, (len(order) - i) * q) for i, q in enumerate(order) if q <= p]
        assert a >= p
        assert a == pytest.approx(max(at_or_before[: order.index(p) + 1]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=9))
def test_spearman_against_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    else:
        assert np.isnan(spearman(first, second))


@settings(deadline=None)
@given(st.integers(1, 200))
def test_fewest_pairs_is_the_first_number_that_can_decide(comparisons: int) -> None:
    count = fewest(comparisons)
    assert comparisons * 2 / 2**count <= 0.05 < comparisons * 2 / 2 ** (count - 1)


def test_rank_correlations_against_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 5, (4, 30)).astype(float)
    values[3] = 2
    found = rank_correlations(values)
    truth = scipy.stats.spearmanr(values[:3], axis=1).statistic
    assert np.allclose(found[:3, :3], truth)
    assert np.isnan(found[3]).all()


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30, unique=True))
def test_no_rank_correlation_is_beyond_one(values: list[float]) -> None:
    assert spearman(values, values) <= 1
    assert spearman(values, [-value for value in values]) >= -1
