"""Principal components."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.kinds import Fit, factorizations

PRESENT = 1e-12


def encode(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"], _: object
) -> Float[Tensor, "n concepts"]:
    """Return the signed length of each vector along each direction."""
    return vectors @ directions.T


@factorizations.register(
    "Principal components",
    source="Hotelling 1933, doi:10.1037/h0071325",
    use="as the yardstick: no other directions of that number explain more of the variance",
    encode=encode,
    most=lambda vectors, units: min(vectors - 1, units),
    limits="directions are at right angles and codes have both signs, so most are mixtures of what is seen",
)
def pca(vectors: Float[Tensor, "n units"], count: int, seed: int) -> Fit:
    """Directions of the highest variance, at right angles to each other.

    Each points to where the units together respond more, so that fits to other images agree on the sign.

    Parameters
    ----------
    vectors
        (N, units).
    count
        Of the directions.
    seed
        Not used: there is nothing random.

    """
    offset = vectors.mean(0)
    centred = vectors - offset
    values, found = torch.linalg.eigh(centred.T @ centred)
    rank = int((values > PRESENT * values[-1]).sum())
    if rank < count:
        raise InnersightError(f"{count} concepts of vectors that vary along {rank} directions: give at most {rank}")
    directions = found.T.flip(0)[:count]
    return Fit(directions * torch.where(directions.sum(1, keepdim=True) < 0, -1, 1), offset)
