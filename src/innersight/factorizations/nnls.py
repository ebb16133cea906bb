"""Non-negative least squares of many vectors against the same few directions."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.quotients import precise

RIDGE = 1e-10
"""Added to the squared lengths of directions that are nearly dependent: equal ones then share what they explain."""
SETTLED = 1e-10
"""How far below zero a code or a slope counts as zero, as a share of the largest product of vector and direction."""
INVERTIBLE = 1e6
"""The condition number up to which the directions' products are inverted."""
EXCHANGES = 3
SWEEPS = 16
ROUNDS = 100
"""How many rounds for each concept there may be; a few in all are usual."""
MEMORY = 2**18


def solve_nonnegative(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"]
) -> Float[Tensor, "n concepts"]:
    """Return the codes of 0 or more by which the directions come nearest to each vector, in least squares.

    Parameters
    ----------
    vectors : Tensor
        (n, units). A vector that contains nan or infinity has codes of nan.
    directions : Tensor
        (concepts, units) of unit length, constant: no gradient reaches them.

    Returns
    -------
    Tensor
        (n, concepts), 0 or more, in the vectors' precision. They can be differentiated any number of times, except
        where a concept is about to enter or leave: there, as at the corner of a ReLU, the derivative of a code of 0
        is 0.

    Raises
    ------
    InnersightError
        Where rounding keeps the codes of nearly equal directions from settling.

    Notes
    -----
    Block principal pivoting (Portugal, Júdice and Vicente 1994, doi:10.1090/S0025-5718-1994-1250776-4; Kim and Park
    2011, doi:10.1137/110821172) in float64, from the concepts that a few sweeps of coordinate descent leave above zero.
    It ends at codes that are exact on those concepts, so a vector's codes do not depend on what else is in the batch.

    Examples
    --------
    >>> solve_nonnegative(torch.tensor([[3.0, 1.0], [-1.0, 2.0]]), torch.eye(2)).tolist()
    [[3.0, 1.0], [0.0, 2.0]]

    """
    fixed = precise(directions.detach())
    codes: Tensor = _Nonnegative.apply(precise(vectors) @ fixed.T, *_system(fixed @ fixed.T))
    return codes.to(vectors.dtype)


class _Nonnegative(torch.autograd.Function):
    @staticmethod
    def forward(products: Tensor, gram: Tensor, inverse: Tensor | None) -> Tensor:
        return _pivot(products, gram, inverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(output > 0, *inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Restricted.apply(gradient, *ctx.saved_tensors), None, None


class _Restricted(torch.autograd.Function):
    """Solve for some concepts only. It is linear and symmetric: it is its own derivative."""

    @staticmethod
    def forward(products: Tensor, above: Tensor, gram: Tensor, inverse: Tensor | None) -> Tensor:
        return _solve(products, above, gram, inverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _Restricted.apply(gradient, *ctx.saved_tensors), None, None, None


def _pivot(
    products: Float[Tensor, "n concepts"], gram: Float[Tensor, "concepts concepts"], inverse: Tensor | None
) -> Float[Tensor, "n concepts"]:
    size = products.abs().amax(1, keepdim=True) if products.shape[1] else products.new_zeros(len(products), 1)
    finite = torch.isfinite(size)
    even = (products / size.masked_fill(size == 0, 1)).masked_fill(~finite, 0)
    codes = _descend(even, gram)
    above = codes > 0
    rows = torch.arange(len(products), device=products.device)
    # How many concepts were on the wrong side at best, and how often all may still change sides without an improvement.
    best = torch.full_like(rows, products.shape[1] + 1)
    left = torch.full_like(rows, EXCHANGES)
    rounds = 0
    while len(rows):
        rounds += 1
        if rounds > ROUNDS * products.shape[1]:
            few = f"the codes of {len(rows):,} vectors do not settle among {len(gram)} concepts that are nearly alike"
            raise InnersightError(f"{few}: ask for fewer concepts")
        own = above[rows]
        found = _solve(even[rows], own, gram, inverse)
        slope = found @ gram - even[rows]
        wrong = torch.where(own, found, slope) < -SETTLED
        number = wrong.sum(1)
        settled = number == 0
        codes[rows[settled]] = found[settled].clamp(min=0)
        rows, wrong, number, best, left = (one[~settled] for one in (rows, wrong, number, best, left))
        better = number < best
        best = torch.minimum(best, number)
        left = torch.where(better, EXCHANGES, left - 1)
        # One concept at a time, the last one first, always ends (Murty 1974, doi:10.1007/BF01580226).
        above[rows] ^= wrong & ((left >= 0)[:, None] | _last(wrong))
    return (codes * size).masked_fill(~finite, float("nan"))


def _last(chosen: Bool[Tensor, "n concepts"]) -> Bool[Tensor, "n concepts"]:
    return chosen & (chosen.flip(1).cumsum(1).flip(1) == 1)


def _descend(products: Float[Tensor, "n concepts"], gram: Float[Tensor, "concepts concepts"]) -> Tensor:
    """Return codes after some sweeps of coordinate descent: near the solution where directions are not alike."""
    codes = torch.zeros_like(products).T.contiguous()
    rows = products.T.contiguous()
    for _ in range(SWEEPS):
        for one, row in enumerate(gram):
            slope = row @ codes - rows[one]
            codes[one] = (codes[one] - slope / row[one]).clamp(min=0)
    return codes.T.contiguous()


def _system(gram: Float[Tensor, "concepts concepts"]) -> tuple[Tensor, Tensor | None]:
    """Return the system of all concepts and its inverse; where that would lose digits, with the ridge and None."""
    inverse, _ = torch.linalg.inv_ex(gram)
    condition = gram.abs().sum(1).max() * inverse.abs().sum(1).max()
    if float(condition) < INVERTIBLE:
        return gram, inverse
    return gram + RIDGE * torch.eye(len(gram)).to(gram), None


def _solve(
    products: Float[Tensor, "n concepts"],
    above: Bool[Tensor, "n concepts"],
    gram: Float[Tensor, "concepts concepts"],
    inverse: Float[Tensor, "concepts concepts"] | None,
) -> Float[Tensor, "n concepts"]:
    """Return the codes without a bound on the concepts named by `above`; 0 for the others."""
    if inverse is None:
        return _solve_within(products, above, gram)
    # Time grows with the cube of the system: where most concepts are above zero, solve for those that are not.
    few = 2 * above.sum(1, keepdim=True) <= above.shape[1]
    every = products @ inverse
    surplus = _solve_within(every, ~above & ~few, inverse) @ inverse
    return torch.where(few, _solve_within(products, above & few, gram), (every - surplus) * above)


def _solve_within(
    right: Float[Tensor, "n concepts"], chosen: Bool[Tensor, "n concepts"], system: Float[Tensor, "concepts concepts"]
) -> Float[Tensor, "n concepts"]:
    """Return what solves the rows and columns of the system that each row of `chosen` names; 0 elsewhere."""
    codes = torch.zeros_like(right)
    number, concepts = chosen.sum(1), chosen.shape[1]
    order = chosen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    width = 1
    while width < 2 * concepts:
        rows = ((number > width // 2) & (number <= width)).nonzero()[:, 0]
        size = min(width, concepts)
        for some in torch.split(rows, max(1, MEMORY // size**2)):
            at = order[some, :size]
            used = torch.arange(size, device=at.device) < number[some, None]
            own = system.take(at[:, :, None] * concepts + at[:, None, :])
            own = own.where(used[:, :, None] & used[:, None, :], torch.eye(size).to(own))
            given = right[some].gather(1, at) * used
            solved = torch.cholesky_solve(given[..., None], torch.linalg.cholesky(own))[..., 0]
            codes[some] = codes[some].scatter(1, at, solved * used)
        width *= 2
    return codes
