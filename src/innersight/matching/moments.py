"""Sums that correlations are computed from: streamed and added."""

from dataclasses import dataclass
from functools import reduce

from jaxtyping import Float
from torch import Tensor

from innersight.quotients import quotient

ROUNDING = 1e-12
"""Of sums of squares, float64; values that vary by less, a millionth of themselves, do so by rounding in float32."""


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Sums over rows of two sets of units, float64: of values, squares, and products of pairs.

    rows : how many. a, b : (units,) sums. aa, bb : (units,) of squares. ab : (a units, b units) of products. Values
    should be shifted near their mean before: squares of large means would swallow small differences.
    """

    rows: int
    a: Tensor
    b: Tensor
    aa: Tensor
    bb: Tensor
    ab: Tensor

    @classmethod
    def of(cls, a: Float[Tensor, "rows units"], b: Float[Tensor, "rows others"]) -> "PairMoments":
        """Return the sums of some rows."""
        return cls(len(a), a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0), a.T @ b)

    def __add__(self, other: "PairMoments") -> "PairMoments":
        return PairMoments(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def covariance(self) -> Float[Tensor, "units others"]:
        """Return the summed products of deviations from the means."""
        return self.ab - self.a[:, None] * self.b / self.rows

    def correlation(self) -> Float[Tensor, "units others"]:
        """Return Pearson's correlation of every pair, -1 to 1; 0 where a unit does not vary."""
        deviation_a, deviation_b = _deviation(self.aa, self.a, self.rows), _deviation(self.bb, self.b, self.rows)
        return quotient(self.covariance(), deviation_a[:, None] * deviation_b).clamp(-1, 1)


def _deviation(square: Float[Tensor, " units"], total: Float[Tensor, " units"], rows: int) -> Float[Tensor, " units"]:
    """Return the root of the summed squared deviations; 0 where that is what rounding leaves of the squares."""
    spread = square - total**2 / rows
    return spread.masked_fill(spread <= ROUNDING * square, 0).sqrt()


def total(parts: "list[PairMoments]") -> PairMoments:
    """Return the sums of all parts."""
    return reduce(PairMoments.__add__, parts)
