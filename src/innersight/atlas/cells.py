"""From vectors to a map: their places in the plane, and the cells of a grid over it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.ambient import kept_random
from innersight.atlas.layouts import layouts
from innersight.errors import InnersightError
from innersight.vectors import VectorSample

LEAST = 5  # different vectors, without which nothing can be laid out
OUTSIDE = 0.002  # share of the vectors beyond either edge, which are moved to it
NEIGHBOURS, JUDGED = 10, 3000  # by which the layout is judged, and on how many vectors


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid that hold any vector, row by row from the upper left.

    grid : cells a side. position : (cells, 2), row and column. member : (vectors,), the cell of each vector.
    """

    grid: int
    position: Int[Tensor, "cells 2"]
    member: Int[Tensor, " vectors"]

    def __len__(self) -> int:
        return len(self.position)

    @property
    def count(self) -> Int[Tensor, " cells"]:
        """How many vectors each holds."""
        return torch.bincount(self.member, minlength=len(self))

    def mean(self, values: Float[Tensor, "vectors n"]) -> Float[Tensor, "cells n"]:
        """Return the mean over the vectors of each cell."""
        sums = torch.zeros(len(self), values.shape[1], dtype=torch.float64)
        sums.index_add_(0, self.member, values.double())
        mean: Tensor = sums / self.count[:, None]
        return mean.float()


def unit_vectors(vectors: Float[Tensor, "n units"]) -> Float[Tensor, "n units"]:
    """Return vectors of length 1, in float64; those without a length stay 0."""
    own = vectors.double()
    own = own / own.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    length: Tensor = own.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return own / length


def constant(sample: VectorSample) -> Bool[Tensor, " units"]:
    """Return which units have one value in the whole sample."""
    low, high = sample.vectors.aminmax(dim=0)
    return low == high


def check_spread(sample: VectorSample) -> None:
    """Raise InnersightError where the vectors are too few, or too much alike, to be laid out."""
    count = len(sample)
    different = len(torch.unique(unit_vectors(sample.vectors).float(), dim=0))
    if different < min(LEAST, count) or count < LEAST:
        what = f"{count:,} vectors of {sample.layer}, of {sample.images:,} images"
        if different == 1 and count > 1:
            raise InnersightError(
                f"the {what}, all have the same direction: nothing can be told apart in this layer; choose another one"
            )
        raise InnersightError(f"the {what}, have {different} directions, and an atlas needs {LEAST}: give more images")


def laid_out(sample: VectorSample, layout: str, seed: int) -> Float[Tensor, "n 2"]:
    """Return the place (x, y) of every vector in the unit square, x to the right and y downwards.

    Vectors are compared by their directions. The few that lie far out are moved to the edge.
    """
    with kept_random():
        found = layouts[layout](unit_vectors(sample.vectors).numpy(), seed).astype(np.float64)
    low, high = np.quantile(found, [OUTSIDE, 1 - OUTSIDE], axis=0)
    span = np.where(high > low, high - low, 1.0)
    return torch.from_numpy(np.clip((found - low) / span, 0, 1)).float()


def faithfulness(sample: VectorSample, points: Float[Tensor, "n 2"], seed: int) -> float:
    """Return the trustworthiness of a layout, 0 to 1: whether neighbours in the plane are neighbours in the layer.

    Venna and Kaski 2001, with 10 neighbours by cosine distance, among at most 3,000 of the vectors.
    """
    with kept_random():
        from sklearn.manifold import trustworthiness

    count = len(sample)
    some = np.sort(np.random.default_rng(seed).permutation(count)[:JUDGED])
    neighbours = min(NEIGHBOURS, (len(some) - 1) // 2)
    vectors = unit_vectors(sample.vectors)[some].numpy()
    return float(trustworthiness(vectors, points[some].numpy(), n_neighbors=neighbours, metric="cosine"))


def cells_of(points: Float[Tensor, "n 2"], grid: int) -> Cells:
    """Return the cells of a grid over the unit square that hold any point."""
    at = (points.double() * grid).long().clamp(0, grid - 1)
    numbers, member = torch.unique(at[:, 1] * grid + at[:, 0], return_inverse=True)
    return Cells(grid, torch.stack([numbers // grid, numbers % grid], 1), member)
