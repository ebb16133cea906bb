"""Noisy linear imputation."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.quotients import quotient
from innersight.trust.imputers import Fill, imputers

NOISE = 0.01
ROUNDS = 24


@imputers.register("Inpainting", source="Rong et al. 2022, arXiv:2202.00449")
def inpaint(x: Tensor, stream: torch.Generator) -> Fill:
    """The weighted mean of each removed pixel's neighbours, plus a little noise.

    Noisy linear imputation of ROAD (Rong et al. 2022, arXiv:2202.00449): the shape of what was removed cannot be read
    from what is left, as it can from a flat colour. The noise is 0.01 of the network input, as in the authors' code.
    """
    drawn = torch.randn(x.shape, generator=stream).to(x) * NOISE
    return lambda kept: imputed(x, kept) + torch.where(kept[:, None], 0, drawn)


def imputed(
    x: Float[Tensor, "C H W"], kept: Bool[Tensor, "n H W"], *, rounds: int = ROUNDS
) -> Float[Tensor, "n C H W"]:
    """Return `x` with each pixel not kept equal to the mean of its eight neighbours, those at corners half as heavy.

    The linear equations are solved from a coarse grid to the fine one, with `rounds` of conjugate gradients on each.
    Where nothing is kept, all is the image's mean colour.
    """
    centre = x.mean((1, 2), keepdim=True)
    shape = (len(kept), len(x), *x.shape[1:])
    stays = kept[:, None].expand(shape).reshape(-1, 1, *shape[2:])
    # At unit size: squares of what the network takes may be too small or too large for its type.
    size = (x - centre).abs().amax()
    known = quotient(x - centre, size).expand(shape).reshape(stays.shape) * stays
    return _solved(known, stays.to(x), rounds).view(shape) * size + centre


def _solved(known: Tensor, stays: Tensor, rounds: int) -> Tensor:
    """Return values (n, 1, H, W) with the removed ones, `stays` 0, filled in. known : 0 there."""
    if bool(stays.all()):
        return known
    gone = 1 - stays
    found = _guess(known, stays, rounds) * gone
    weight = _around(torch.ones_like(known[:1]))
    rest = gone * (_around(known + found) - weight * found)
    ahead, square = rest.clone(), rest.square().sum((1, 2, 3), keepdim=True)
    for _ in range(rounds):
        image = gone * (weight * ahead - _around(ahead))
        step = quotient(square, (ahead * image).sum((1, 2, 3), keepdim=True))
        found.addcmul_(step, ahead)
        rest.addcmul_(step, image, value=-1)
        before, square = square, rest.square().sum((1, 2, 3), keepdim=True)
        ahead = torch.addcmul(rest, quotient(square, before), ahead)
    return known + found


def _guess(known: Tensor, stays: Tensor, rounds: int) -> Tensor:
    """Return the solution on a grid half as fine, interpolated to this one."""
    if min(known.shape[2:]) < 4:
        return quotient(known.sum((2, 3), keepdim=True), stays.sum((2, 3), keepdim=True)).expand_as(known)
    half, share = (F.avg_pool2d(t, 2, ceil_mode=True, count_include_pad=False) for t in (known, stays))
    solid = (share > 0).to(known)
    coarse = _solved(quotient(half, share), solid, rounds)
    return F.interpolate(coarse, known.shape[2:], mode="bilinear", align_corners=False)


def _around(v: Tensor) -> Tensor:
    """Return the weighted sum of each pixel's eight neighbours."""
    side = F.pad(v, (1, 1, 1, 1))
    rows = side[:, :, :-2] + 2 * side[:, :, 1:-1] + side[:, :, 2:]
    total = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]
    return total.sub_(v, alpha=4).div_(12)
