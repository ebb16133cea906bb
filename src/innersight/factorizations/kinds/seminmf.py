"""Semi-non-negative matrix factorization."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.kinds import Fit, factorizations
from innersight.factorizations.kinds.kmeans import clusters
from innersight.factorizations.nnls import solve_nonnegative
from innersight.quotients import normalised

STARTS = 4
RIDGE = 1e-6
"""Share of the codes' mean squared size that steadies directions whose codes are alike."""


def encode(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"], _: object
) -> Float[Tensor, "n concepts"]:
    """Return the codes of 0 or more that bring the directions nearest to the vectors."""
    return solve_nonnegative(vectors, directions)


@factorizations.register(
    "Semi-non-negative matrix factorization",
    source="Ding, Li and Jordan 2010, doi:10.1109/TPAMI.2008.277",
    use="for any layer, and for those whose activations are negative as well: codes only add up, directions are signed",
    encode=encode,
    most=min,
    limits="a direction may inhibit units: what is strong there need not show in any of them",
)
def seminmf(vectors: Float[Tensor, "n units"], count: int, seed: int, *, rounds: int = 3) -> Fit:
    """Directions of both signs and codes of 0 or more whose products come near to the activations.

    It starts from the clusters of `kmeans`. More rounds explain more, and are less stable.

    Parameters
    ----------
    vectors
        (N, units).
    count
        Of the concepts.
    seed
        Of the clusters.
    rounds
        How often codes and directions are improved in turn.

    """
    if rounds < 0:
        raise InnersightError(f"seminmf: rounds={rounds}: give 0 or more")
    directions = normalised(clusters(vectors, count, seed, STARTS), 1)
    for _ in range(rounds):
        directions = _improved(vectors, directions)
    return Fit(directions, torch.zeros(vectors.shape[1]))


def _improved(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"]
) -> Float[Tensor, "concepts units"]:
    """Return the directions of least squares for their codes; one that no vector uses stays."""
    codes = solve_nonnegative(vectors, directions)
    used = codes.any(0)
    some = codes[:, used]
    gram = some.T @ some
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    found = directions.clone()
    found[used] = normalised(torch.linalg.solve(gram, some.T @ vectors), 1)
    return found
