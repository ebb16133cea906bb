"""Clusters of directions."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.kinds import Fit, factorizations
from innersight.quotients import normalised


def encode(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"], _: object
) -> Float[Tensor, "n concepts"]:
    """Return for each vector its length along the direction that is nearest in angle; 0 for the other directions."""
    lengths = vectors @ directions.T
    nearest = lengths.detach().argmax(1, keepdim=True)
    return torch.zeros_like(lengths).scatter(1, nearest, lengths.gather(1, nearest).clamp(min=0))


@factorizations.register(
    "k-means of directions",
    source="Dhillon and Modha 2001, doi:10.1023/A:1007612920971",
    use="to put each location into one group: codes are the easiest to read, and explain the least",
    encode=encode,
    most=min,
    limits="a location that shows two concepts has the stronger one only",
)
def kmeans(vectors: Float[Tensor, "n units"], count: int, seed: int, *, starts: int = 4) -> Fit:
    """Clusters of vectors by their angle, each vector weighted by its squared length.

    By the angle, because a location that shows the same more strongly has a longer vector.

    Parameters
    ----------
    vectors
        (N, units).
    count
        Of the clusters.
    seed
        Of the starts.
    starts
        How often it starts anew; the best is taken.

    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    some = vectors[vectors.any(1)]
    weights = (some / some.abs().max()).square().sum(1)
    solver = KMeans(count, n_init=starts, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            solver.fit(normalised(some, 1).numpy(), sample_weight=weights.numpy())
        except ConvergenceWarning as error:
            raise InnersightError(f"the vectors have fewer than {count} directions: give a smaller count") from error
    return Fit(torch.from_numpy(solver.cluster_centers_), torch.zeros(vectors.shape[1]))
