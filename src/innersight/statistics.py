"""Statistics that several packages use: scipy's where they fit, see docs/decisions/0014-statistics.md.

scipy.stats takes half a second to import, so functions import it where they need it.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

EXACT = 12
CHUNK = 1000


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a proportion (Wilson 1927); 0 to 1 for no trials.

    >>> tuple(round(v, 3) for v in wilson(97, 100))
    (0.915, 0.99)
    """
    from scipy import stats

    if trials == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(
    values: "Float[np.ndarray, ' n'] | Sequence[float]", *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the mean of `values` (n,).

    None for fewer than two values, and where one is not finite.

    Efron 1979 (Annals of Statistics 7, 1-26). A little too narrow for fewer than about ten values.

    >>> low, high = bootstrap([1.0, 2.0, 3.0, 4.0])
    >>> bool(1 <= low < 2.5 < high <= 4)
    True
    """
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return None
    interval = stats.bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", batch=CHUNK,
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def sign_flip(
    differences: "Float[np.ndarray, ' n'] | Sequence[float]", *, resamples: int = 9999, seed: int = 0
) -> float:
    """Return the two-sided p-value of "the mean of these paired differences is 0", by flipping their signs.

    Fisher 1935 (The Design of Experiments, section 21). All `2 ** n` flips are counted for up to twelve differences
    (n,); for more, `resamples` random ones and the observed one (Phipson and Smyth 2010, arXiv:1603.05766). Assumes
    that under no difference both signs are equally likely. 1.0 for none at all. Seventy times as fast as
    `scipy.stats.permutation_test`.

    >>> sign_flip([1.0, 2.0, 3.0])
    0.25
    """
    return sign_flips(np.asarray(differences, dtype=np.float64)[:, None], resamples=resamples, seed=seed)[0]


def sign_flips(differences: Float[np.ndarray, "n tests"], *, resamples: int = 9999, seed: int = 0) -> tuple[float, ...]:
    """Return `sign_flip` of every column, all by the same flips.

    >>> sign_flips(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 1.0]]))
    (0.25, 1.0)
    """
    sample = np.asarray(differences, dtype=np.float64)
    count = len(sample)
    # Sums that are equal on paper must count as equal in floating point.
    observed = np.abs(sample.sum(0)) - 1e-12 * np.abs(sample).sum(0)
    if count <= EXACT:
        flips = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return tuple((np.abs(flips @ sample) >= observed).mean(0).tolist())
    rng = np.random.default_rng(seed)
    hits = np.zeros(sample.shape[1], dtype=np.int64)
    for size in _chunks(resamples):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (size, count), dtype=np.int8)
        hits += (np.abs(signs @ sample) >= observed).sum(0)
    return tuple(((1 + hits) / (1 + resamples)).tolist())


def fewest(comparisons: int, *, level: float = 0.05) -> int:
    """Return how many pairs `sign_flip` needs before the least of `comparisons` p-values can stay below `level`.

    >>> fewest(1), fewest(6)
    (6, 8)
    """
    return math.ceil(1 + math.log2(comparisons / level))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted for their number, in the order given (Holm 1979, Scand. J. Statistics 6, 65-70).

    >>> tuple(round(p, 3) for p in holm([0.01, 0.04, 0.03]))
    (0.03, 0.06, 0.06)
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def van_elteren(
    values: Float[np.ndarray, "n tests"], first: "Bool[np.ndarray, ' n']", strata: "Int[np.ndarray, ' n']"
) -> tuple[Float[np.ndarray, " tests"], Float[np.ndarray, " tests"]]:
    """Return for every column how often the first group has the higher value, and the p-value of "as often as not".

    Wilcoxon's rank sum within each stratum, weighted by one over its size plus one (van Elteren 1960), with the
    variance of tied ranks and the normal approximation; two-sided. Of one stratum it is the test of Mann and Whitney.
    effect : of all pairs within a stratum, the share in which a member of the first group has more, ties half; 0 to 1.

    >>> effect, p = van_elteren(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 0, 1, 1]) > 0, np.zeros(4, int))
    >>> float(effect[0]), round(float(p[0]), 3)
    (1.0, 0.121)
    """
    from scipy import stats

    columns = values.shape[1]
    score, variance, more = (np.zeros(columns) for _ in "abc")
    pairs = 0
    for stratum in np.unique(strata):
        inside = strata == stratum
        own, total = first[inside], int(inside.sum())
        count, rest = int(own.sum()), int((~own).sum())
        if not count or not rest:
            continue
        ranks = stats.rankdata(values[inside], axis=0)
        ahead = ranks[own].sum(0) - count * (count + 1) / 2
        # The variance of ranks as they are: ties make it smaller.
        spread = ranks.var(0, ddof=1) * count * rest / total
        weight = 1 / (total + 1)
        score += weight * (ahead - count * rest / 2)
        variance += weight**2 * spread
        more += ahead
        pairs += count * rest
    safe = np.where(variance > 0, variance, 1.0)
    p_values = np.where(variance > 0, 2 * stats.norm.sf(np.abs(score) / np.sqrt(safe)), 1.0)
    return more / max(1, pairs), p_values


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, -1 to 1, equal values sharing their mean rank; nan when one side is constant.

    >>> round(spearman([1, 2, 3, 4], [10, 20, 40, 30]), 3)
    0.8
    """
    return float(rank_correlations(np.array([first, second], dtype=np.float64))[0, 1])


def rank_correlations(values: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, "rows rows"]:
    """Return Spearman's rank correlation of every row with every other, -1 to 1; nan for rows that are constant.

    >>> rank_correlations(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])).round(3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    from scipy import stats

    ranks = stats.rankdata(np.asarray(values, dtype=np.float64), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    scale = np.sqrt((ranks**2).sum(1))
    scale[scale == 0] = math.nan
    # Rounding would lead beyond 1.
    found: Float[np.ndarray, "rows rows"] = np.clip(ranks @ ranks.T / np.outer(scale, scale), -1, 1)
    return found


def _chunks(total: int) -> list[int]:
    """Split a number of resamples so that the memory does not grow with it."""
    return [min(CHUNK, total - start) for start in range(0, total, CHUNK)]
