"""`explained`: how much of the vectors' variance the concepts explain, in total and each."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.factorizations.factorization import Factorization
from innersight.factorizations.fitting import CHUNK, checked_vectors


@dataclass(frozen=True, eq=False)
class Explained:
    """Shares of the vectors' variance.

    Attributes
    ----------
    total : float
        Share that codes and directions explain together: 1 where nothing is missing; below 0 where the mean vector
        alone comes nearer.
    each : Tensor
        (concepts,) float32, the share of each concept; they sum to `total` plus `shifted`.
    shifted : float
        Share that is lost because the mean of what is decoded is not the mean of the vectors; 0 for "pca".

    """

    total: float
    each: Float[Tensor, " concepts"]
    shifted: float

    __repr__ = brief


def explained(factorization: Factorization, vectors: Tensor) -> Explained:
    """Return how much of the vectors' variance the concepts explain.

    Parameters
    ----------
    factorization : Factorization
        From `fit`.
    vectors : Tensor
        (N, units), those of the fit or, for an honest figure, others.

    Returns
    -------
    Explained
        In total and of each concept.

    Raises
    ------
    InnersightError
        For vectors of another number of units, and for those that `fit` refuses.

    Notes
    -----
    The variance is the mean squared distance from the mean vector, summed over units. A concept's share is its Shapley
    value (Shapley 1953, doi:10.1515/9781400881970-018) in "share of the variance that these concepts, with these codes,
    explain": concepts that explain the same share it evenly.

    Examples
    --------
    >>> from innersight.factorizations import fit
    >>> vectors = torch.rand(100, 4)
    >>> found = explained(fit(vectors, "pca", 4), vectors)
    >>> round(found.total, 4), round(float(found.each.sum()), 4)
    (1.0, 1.0)

    """
    values = checked_vectors(vectors)
    if values.shape[1] != factorization.units:
        raise InnersightError(f"vectors of {values.shape[1]} units: the factorization has {factorization.units}")
    # Squares of the smallest activations are zero, those of the largest infinite.
    size = values.abs().max()
    directions = factorization.directions.double()
    codes = torch.cat([factorization.encode(some) for some in torch.split(values, CHUNK)]) / size
    values = values / size
    mean, middle = values.mean(0), codes.mean(0)
    centred, around = values - mean, codes - middle
    variance = centred.square().sum()
    own = (centred @ directions.T * around).sum(0)
    shared = (around @ (directions @ directions.T) * around).sum(0)
    each = (2 * own - shared) / variance
    apart = middle @ directions + factorization.offset.double() / size - mean
    shifted = float(len(values) * apart.square().sum() / variance)
    return Explained(float(each.sum()) - shifted, each.float(), shifted)
