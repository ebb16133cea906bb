"""Non-negative least squares of many vectors against the same few directions."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight.quotients import precise

RIDGE = 1e-10
"""Added to the squared lengths of the directions, which are 1: equal directions then share what they explain."""
SETTLED = 1e-10
"""How far below zero a code or a slope counts as zero, as a share of the largest product of vector and direction."""
EXCHANGES = 3
SWEEPS = 8
MEMORY = 2**23


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
    gram = fixed @ fixed.T
    gram.diagonal().add_(RIDGE)
    codes: Tensor = _Nonnegative.apply(precise(vectors) @ fixed.T, gram)
    return codes.to(vectors.dtype)


class _Nonnegative(torch.autograd.Function):
    @staticmethod
    def forward(products: Tensor, gram: Tensor) -> Tensor:
        return _pivot(products, gram)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output > 0, inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        above, gram = ctx.saved_tensors
        return _Restricted.apply(gradient, above, gram), None


class _Restricted(torch.autograd.Function):
    """Solve for some concepts only. It is linear and symmetric: it is its own derivative."""

    @staticmethod
    def forward(products: Tensor, above: Tensor, gram: Tensor) -> Tensor:
        return _solve(products, above, gram)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Restricted.apply(gradient, *ctx.saved_tensors), None, None


def _pivot(products: Float[Tensor, "n concepts"], gram: Float[Tensor, "concepts concepts"]) -> Tensor:
    size = products.abs().amax(1, keepdim=True) if products.shape[1] else products.new_zeros(len(products), 1)
    finite = torch.isfinite(size)
    even = (products / size.masked_fill(size == 0, 1)).masked_fill(~finite, 0)
    codes = _descend(even, gram)
    above = codes > 0
    rows = torch.arange(len(products), device=products.device)
    # How many concepts were on the wrong side at best, and how often all may still change sides without an improvement.
    best = torch.full_like(rows, products.shape[1] + 1)
    left = torch.full_like(rows, EXCHANGES)
    while len(rows):
        own = above[rows]
        found = _solve(even[rows], own, gram)
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


def _solve(
    products: Float[Tensor, "n concepts"], above: Bool[Tensor, "n concepts"], gram: Float[Tensor, "concepts concepts"]
) -> Float[Tensor, "n concepts"]:
    """Return the codes without a bound on the concepts named by `above`; 0 for the others."""
    codes = torch.zeros_like(products)
    number = above.sum(1)
    order = above.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    width = 1
    while width < 2 * products.shape[1]:
        # Most vectors need few of the concepts, and small systems are solved much faster.
        rows = ((number > width // 2) & (number <= width)).nonzero()[:, 0]
        size = min(width, products.shape[1])
        for some in torch.split(rows, max(1, MEMORY // size**2)):
            at = order[some, :size]
            used = torch.arange(size, device=at.device) < number[some, None]
            both = used[:, :, None] & used[:, None, :]
            system = torch.where(both, gram[at[:, :, None], at[:, None, :]], torch.eye(size).to(gram))
            right = (products[some].gather(1, at) * used)[..., None]
            solved = torch.cholesky_solve(right, torch.linalg.cholesky(system))[..., 0]
            codes[some] = codes[some].scatter(1, at, solved * used)
        width *= 2
    return codes
