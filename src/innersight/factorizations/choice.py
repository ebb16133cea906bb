"""`choose_count`: how many concepts a layer has that other images confirm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.agreement import halves, match
from innersight.factorizations.fitting import checked_vectors, fit_count
from innersight.factorizations.kinds import factorizations
from innersight.factorizations.variance import explained
from innersight.scalars import seed_of

COUNTS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
STABLE = 0.9
ENOUGH = 0.95


@dataclass(frozen=True)
class Choice:
    """What was found for one number of concepts.

    Attributes
    ----------
    count : int
        Of the concepts.
    explained : float
        Share of the variance of the half that was not fitted, the mean of both ways.
    stability : float
        Mean cosine of the concepts of both halves, matched one to one.

    """

    count: int
    explained: float
    stability: float


def choose_count(
    vectors: Tensor,
    by: str = "nmf",
    counts: Sequence[int] = COUNTS,
    *,
    groups: Int[Tensor, " n"] | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[int, tuple[Choice, ...]]:
    """Return how many concepts to ask for, by what two halves of the vectors agree on.

    Parameters
    ----------
    vectors : Tensor
        (N, units), see `fit`.
    by : str
        Name of the factorization.
    counts : sequence of int
        Those that are tried; what a half of the vectors does not allow is left out.
    groups : Tensor, optional
        (N,) the number of the image each vector is from: an image is in one half only. None if each is from another.
    seed : int
        Of the halves and the fits.
    **options
        Of the factorization.

    Returns
    -------
    count : int
        The smallest stable count that explains 95% of what the best stable count explains. Stable is a mean matched
        cosine of at least 0.9; where no count is, the most stable one is returned.
    table : tuple of Choice
        What was found for each count.

    Raises
    ------
    InnersightError
        Where no count can be tried, and as `fit` does.

    Examples
    --------
    >>> import torch
    >>> vectors = torch.rand(200, 5, generator=torch.Generator().manual_seed(0)) ** 4 @ torch.eye(5, 20)
    >>> choose_count(vectors, "nmf", [2, 5])[0]
    5

    """
    values, first = checked_vectors(vectors), halves(len(vectors), groups, seed_of(seed))
    parts = (values[first], values[~first])
    most = min(factorizations.entry(by).most(*part.shape) for part in parts)
    tried = sorted({count for count in counts if count <= most})
    if not tried:
        raise InnersightError(f"counts {', '.join(map(str, counts))}: half of the vectors have at most {most} concepts")
    table = []
    for count in tried:
        one, other = (fit_count(part, by, count, seed, options) for part in parts)
        shares = explained(one, parts[1]).total, explained(other, parts[0]).total
        table.append(Choice(count, sum(shares) / 2, float(match(one.directions, other.directions)[1].mean())))
    return _chosen(table), tuple(table)


def _chosen(table: Sequence[Choice]) -> int:
    stable = [row for row in table if row.stability >= STABLE]
    if not stable:
        return max(table, key=lambda row: row.stability).count
    best = max(row.explained for row in stable)
    return next(row.count for row in stable if row.explained >= ENOUGH * best)
