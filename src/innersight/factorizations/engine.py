"""`fit`: directions from vectors, by any factorization."""

from typing import Any

from jaxtyping import Int
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.choice import choose_count
from innersight.factorizations.factorization import Factorization
from innersight.factorizations.fitting import fit_count
from innersight.scalars import integer

AUTO = "auto"


def fit(
    vectors: Tensor,
    by: str = "nmf",
    count: int | str = 16,
    *,
    seed: int = 0,
    groups: Int[Tensor, " n"] | None = None,
    **options: Any,
) -> Factorization:
    """Factorize vectors of activations.

    Parameters
    ----------
    vectors : Tensor
        (N, units), of any precision, size and device: a sample of a layer's activation vectors.
    by : str
        Name of the factorization: "nmf", "seminmf", "kmeans", "pca" or "sae".
    count : int or "auto"
        Of the concepts. "auto" takes what `choose_count` returns.
    seed : int
        Of everything random.
    groups : Tensor, optional
        (N,) the number of the image each vector is from; for "auto". None if each is from another.
    **options
        Of the factorization.

    Returns
    -------
    Factorization
        On the CPU. It does not depend on the size of the activations: only offset and codes scale with it.

    Raises
    ------
    InnersightError
        For an unknown factorization or option, for vectors that are not finite, all equal or all zero, and for more
        concepts than can be found in them.

    Examples
    --------
    >>> import torch
    >>> found = fit(torch.rand(100, 8), "kmeans", 3)
    >>> found.directions.shape
    torch.Size([3, 8])

    """
    if isinstance(count, str):
        if count != AUTO:
            raise InnersightError(f"count={count!r}: give a whole number, or {AUTO!r}")
        count, _ = choose_count(vectors, by, groups=groups, seed=seed, **options)
    return fit_count(vectors, by, integer(count, "count"), seed, options)
