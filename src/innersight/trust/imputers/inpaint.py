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
    x: Float[Tensor, "*n C H W"], kept: Bool[Tensor, "n H W"], *, rounds: int = ROUNDS
) -> Float[Tensor, "n C H W"]:
    """Return `x` with each pixel not kept equal to the mean of its eight neighbours, those at corners half as heavy.

    x : one image for all masks, or one for each. The linear equations are solved from a coarse grid to the fine one,
    with `rounds` of conjugate gradients on each. Where nothing is kept, all is the image's mean colour.
    """
    centre = x.mean((-2, -1), keepdim=True)
    shape = (len(kept), *x.shape[-3:])
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
    # Written to again and again: to get new memory takes longer than to compute what is in it.
    rows, image = torch.empty_like(known), torch.empty_like(known)
    weight = _around(torch.ones_like(known[:1]))
    rest = _differences(known + found, weight, rows, image).mul(gone).neg_()
    ahead, square = rest.clone(), _dot(rest, rest, rows)
    for _ in range(rounds):
        _differences(ahead, weight, rows, image).mul_(gone)
        step = quotient(square, _dot(ahead, image, rows))
        found.addcmul_(step, ahead)
        rest.addcmul_(step, image, value=-1)
        before, square = square, _dot(rest, rest, rows)
        ahead.mul_(quotient(square, before)).add_(rest)
    return known + found


def _guess(known: Tensor, stays: Tensor, rounds: int) -> Tensor:
    """Return the solution on a grid half as fine, interpolated to this one."""
    if min(known.shape[2:]) < 4:
        return quotient(known.sum((2, 3), keepdim=True), stays.sum((2, 3), keepdim=True)).expand_as(known)
    half, share = (F.avg_pool2d(t, 2, ceil_mode=True, count_include_pad=False) for t in (known, stays))
    solid = (share > 0).to(known)
    coarse = _solved(quotient(half, share), solid, rounds)
    return F.interpolate(coarse, known.shape[2:], mode="bilinear", align_corners=False)


def _around(v: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n 1 H W"]:
    """Return the weighted sum of each pixel's eight neighbours."""
    return _block(v, 1.0, torch.empty_like(v), torch.empty_like(v)).sub_(v, alpha=1 / 3)


def _differences(
    v: Float[Tensor, "n 1 H W"], weight: Float[Tensor, "1 1 H W"], rows: Tensor, out: Tensor
) -> Float[Tensor, "n 1 H W"]:
    """Return the weighted sum of each pixel's differences from its neighbours, in `out`.

    weight : the sum of the neighbours' weights. rows : written over.
    """
    return _block(v, -1.0, rows, out).addcmul_(v, weight + 1 / 3)


def _block(v: Float[Tensor, "n 1 H W"], sign: float, rows: Tensor, out: Tensor) -> Float[Tensor, "n 1 H W"]:
    """Return the sum over three by three pixels with the weights of the neighbours, and 1/3 for the pixel itself."""
    # Row by row and then column by column: a convolution of one channel takes several times as long.
    torch.mul(v, sign / 6, out=rows)
    rows[:, :, 1:].add_(v[:, :, :-1], alpha=sign / 12)
    rows[:, :, :-1].add_(v[:, :, 1:], alpha=sign / 12)
    torch.mul(rows, 2, out=out)
    out[..., 1:].add_(rows[..., :-1])
    out[..., :-1].add_(rows[..., 1:])
    return out


def _dot(a: Float[Tensor, "n 1 H W"], b: Float[Tensor, "n 1 H W"], products: Tensor) -> Float[Tensor, "n 1 1 1"]:
    """Return the sum of products of each image. products : written over."""
    return torch.mul(a, b, out=products).sum((1, 2, 3), keepdim=True)
