"""`stability`: whether other seeds and other images give the same concepts."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.factorizations.factorization import Factorization
from innersight.factorizations.fitting import checked_vectors, fit_count
from innersight.scalars import integer

SEEDS = 5


@dataclass(frozen=True, eq=False)
class Stability:
    """How stable concepts are: cosines of matched directions, 1 for the same direction.

    Attributes
    ----------
    seeds : Tensor
        (concepts,) float32, the mean over fits with other seeds.
    halves : Tensor
        (concepts,) float32, between two fits, each to a half of the vectors.
    notes : tuple of str
        What a user should know.

    """

    seeds: Float[Tensor, " concepts"]
    halves: Float[Tensor, " concepts"]
    notes: tuple[str, ...] = ()

    __repr__ = brief


def stability(
    vectors: Tensor,
    factorization: Factorization,
    *,
    seeds: int = SEEDS,
    groups: Int[Tensor, " n"] | None = None,
) -> Stability:
    """Return how far a fit depends on the seed and on the images.

    Parameters
    ----------
    vectors : Tensor
        (N, units), to which it was fitted.
    factorization : Factorization
        From `fit`; its kind, settings and number of concepts are those of all the fits.
    seeds : int
        How many, its own included; at least 2.
    groups : Tensor, optional
        (N,) the number of the image each vector is from: an image is in one half only. None if each is from another.

    Returns
    -------
    Stability
        For each concept of the factorization.

    Raises
    ------
    InnersightError
        For fewer than 2 seeds or groups, and for halves that have too few vectors.

    Notes
    -----
    Directions are matched one to one so that the sum of their cosines is the highest (Kuhn 1955,
    doi:10.1002/nav.3800020109). Both halves are matched with the factorization, and then with each other through it.

    Examples
    --------
    >>> from innersight.factorizations import fit
    >>> vectors = torch.cat([torch.eye(4), 2 * torch.eye(4)]).repeat(20, 1)
    >>> found = stability(vectors, fit(vectors, "nmf", 4))
    >>> bool(found.seeds.min() > 0.99), bool(found.halves.min() > 0.99)
    (True, True)

    """
    if integer(seeds, "seeds") < 2:
        raise InnersightError(f"seeds={seeds}: give 2 or more, to compare them")
    vectors = checked_vectors(vectors)
    first = halves(len(vectors), groups, factorization.settings["seed"])
    again = [_again(vectors, factorization, factorization.settings["seed"] + i) for i in range(1, seeds)]
    try:
        parts = [_again(vectors[half], factorization, factorization.settings["seed"]) for half in (first, ~first)]
    except InnersightError as error:
        raise InnersightError(f"half of the images, by which stability is measured: {error}") from error
    one, other = (part.directions[match(factorization.directions, part.directions)[0]] for part in parts)
    cosines = torch.stack([match(factorization.directions, found.directions)[1] for found in again])
    return Stability(cosines.mean(0), (one * other).sum(1))


def _again(vectors: Float[Tensor, "n units"], like: Factorization, seed: int) -> Factorization:
    options = {name: value for name, value in like.settings.items() if name != "seed"}
    return fit_count(vectors, like.kind, like.concepts, seed, options)


def match(
    one: Float[Tensor, "concepts units"], other: Float[Tensor, "concepts units"]
) -> tuple[Int[Tensor, " concepts"], Float[Tensor, " concepts"]]:
    """Return for each direction of `one` the number of its partner in `other`, and the cosine between the two."""
    cosines = one.double() @ other.double().T
    _, partner = linear_sum_assignment(cosines.numpy(), maximize=True)
    found = torch.from_numpy(partner).long()
    return found, cosines.gather(1, found[:, None])[:, 0].float()


def halves(number: int, groups: Tensor | None, seed: int) -> Bool[Tensor, " n"]:
    """Return which vectors are in the first of two random halves; those of a group are in the same."""
    if groups is None:
        groups = torch.arange(number)
    if tuple(groups.shape) != (number,):
        raise InnersightError(f"groups have shape {tuple(groups.shape)}: give the image's number for {number} vectors")
    names, at = np.unique(groups.cpu().numpy(), return_inverse=True)
    if len(names) < 2:
        raise InnersightError("all vectors are from one image, which has no halves: give more images")
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    found: Tensor = (order < len(names) // 2)[torch.from_numpy(at)]
    return found
