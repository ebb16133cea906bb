"""Sums of which correlations are made: streamed, added, and taken off again."""

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
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
    def of(cls, a: Float[Tensor, "rows units"], b: Float[Tensor, "rows others"]) -> "Moments":
        """Return the sums of some rows."""
        return cls(len(a), a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0), a.T @ b)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(*(one - two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def covariance(self) -> Float[Tensor, "units others"]:
        """Return the summed products of deviations from the means."""
        return self.ab - self.a[:, None] * self.b / self.rows

    def correlation(self) -> Float[Tensor, "units others"]:
        """Return Pearson's correlation of every pair, -1 to 1; 0 where a unit does not vary."""
        spread_a = (self.aa - self.a**2 / self.rows).clamp(min=0)
        spread_b = (self.bb - self.b**2 / self.rows).clamp(min=0)
        scale = (spread_a[:, None] * spread_b).sqrt()
        return torch.where(scale > 0, self.covariance() / scale.clamp(min=1e-300), 0.0).clamp(-1, 1)


def total(parts: "list[Moments]") -> Moments:
    """Return the sums of all parts."""
    return reduce(Moments.__add__, parts)
