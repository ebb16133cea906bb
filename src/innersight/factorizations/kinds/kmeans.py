"""Clusters of directions."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.ambient import kept_random
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
    return Fit(clusters(vectors, count, seed, starts), torch.zeros(vectors.shape[1]))


def clusters(vectors: Float[Tensor, "n units"], count: int, seed: int, starts: int) -> Float[Tensor, "concepts units"]:
    """Return the centres of clusters of vectors by their angle, each vector weighted by its squared length.

    Raises InnersightError where the vectors have too few directions.
    """
    with kept_random():
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

    some = vectors[vectors.any(1)]
    if len(some) < count:
        raise InnersightError(f"{len(some)} of the vectors are not zero, for {count} concepts: give a smaller count")
    solver = KMeans(count, n_init=starts, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            solver.fit(normalised(some, 1).numpy(), sample_weight=some.square().sum(1).numpy())
        except ConvergenceWarning as error:
            raise InnersightError(f"the vectors have fewer than {count} directions: give a smaller count") from error
    return torch.from_numpy(solver.cluster_centers_)
