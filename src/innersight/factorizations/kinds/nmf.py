"""Non-negative matrix factorization."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.ambient import kept_random
from innersight.errors import InnersightError
from innersight.factorizations.kinds import Fit, factorizations
from innersight.factorizations.nnls import solve_nonnegative


def encode(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"], _: object
) -> Float[Tensor, "n concepts"]:
    """Return the codes of 0 or more that bring the directions nearest to what of the vectors is above zero."""
    return solve_nonnegative(vectors.clamp(min=0), directions)


@factorizations.register(
    "Non-negative matrix factorization",
    source="Lee and Seung 1999, doi:10.1038/44565; Olah et al. 2018, doi:10.23915/distill.00010",
    use="for layers behind a ReLU: concepts only add up, so each tends to be a part of what is seen",
    encode=encode,
    most=min,
    limits="what lies below zero is left out",
)
def nmf(
    vectors: Float[Tensor, "n units"], count: int, seed: int, *, iterations: int = 200, tolerance: float = 1e-4
) -> Fit:
    """Directions and codes of 0 or more whose products come nearest to the rectified activations.

    It starts from the singular vectors (NNDSVD, Boutsidis and Gallopoulos 2008, doi:10.1016/j.patcog.2007.09.010), so
    the seed changes little.

    Parameters
    ----------
    vectors
        (N, units).
    count
        Of the concepts.
    seed
        Of the singular vectors.
    iterations
        The most rounds of coordinate descent.
    tolerance
        It ends where a round changes less than this share of the first.

    """
    with kept_random():
        from sklearn.decomposition import NMF
        from sklearn.exceptions import ConvergenceWarning

    rectified = vectors.clamp(min=0)
    if not bool(rectified.any()):
        raise InnersightError(
            "no activation is above zero, and nmf leaves out the others: use seminmf, pca, kmeans or sae"
        )
    solver = NMF(count, init="nndsvda", max_iter=iterations, tol=tolerance, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # What the directions are worth is measured by `explained` and `stability`.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(rectified.numpy())
    directions = torch.from_numpy(solver.components_)
    return Fit(directions, torch.zeros(vectors.shape[1]), notes=_below(vectors))


def _below(vectors: Tensor) -> tuple[str, ...]:
    share = float(vectors.clamp(max=0).square().sum() / vectors.square().sum())
    if share == 0:
        return ()
    return (f"{share:.1%} of the activations' squared size lies below zero and is left out",)
