"""Extremal perturbation."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heatmaps.blur import blurred
from innersight.heatmaps.request import Request, methods
from innersight.quotients import quotient

AREAS = (0.05, 0.1, 0.2, 0.4)
SMOOTH = 21 / 224
"""Standard deviation of the mask's smoothing, as a share of its side: theirs."""
RATE = 0.2
HOLD = 1.0


@methods.register(
    "Extremal perturbation",
    source="Fong et al. 2019, arXiv:1910.08485",
    use="For a region that is enough for the class; slow, and some region is found even where nothing in it matters.",
    unit="share of areas",
    reads="passes",
    passes=100,
    quick={"steps": 3},
    may_mix=True,
)
def extremal_perturbation(request: Request, *, steps: int = 100, cells: int = 28) -> Float[Tensor, "B H W"]:
    """The smooth region of a given size that keeps the target highest.

    A mask is optimized by Adam for each of four areas (5 to 40% of the image), its sorted values held to the area more
    and more; what it hides is blurred. The map is the mean of the four masks.

    Parameters
    ----------
    request
        The batch.
    steps
        Of the optimizer, for each area, 1 or more.
    cells
        Cells along each side of the mask, 2 or more.

    """
    if steps < 1 or cells < 2:
        raise InnersightError(f"steps={steps}, cells={cells}: at least one step and 2 cells")
    cells = min(cells, *request.x.shape[2:])
    hidden = blurred(request.x)
    shown = request.x - hidden
    total = torch.zeros(len(request.x), *request.x.shape[2:], device=request.x.device, dtype=request.x.dtype)
    for area in AREAS:
        free = torch.zeros(len(request.x), 1, cells, cells, device=request.x.device, dtype=request.x.dtype)
        free.requires_grad_(True)
        optimizer = torch.optim.Adam([free], lr=RATE)
        # The values of the mask that has this area, in order: so many ones, and zeros.
        order = torch.zeros(cells * cells, device=free.device, dtype=free.dtype)
        order[round((1 - area) * cells * cells) :] = 1
        for step in range(steps):
            with torch.enable_grad():
                mask = blurred(torch.sigmoid(free), SMOOTH * cells)
                wide = F.interpolate(mask, request.x.shape[2:], mode="bilinear", align_corners=False)
                held = (mask.flatten(1).sort(1).values - order).square().mean(1)
            _, slope = request.slopes(hidden + shown * wide.detach(), request.each)
            # Gradients differ by any factor between networks; the area's weight must not.
            share = quotient(slope, slope.abs().sum((1, 2, 3), keepdim=True)).to(shown)
            with torch.enable_grad():
                gain = (wide * (share * shown).sum(1, keepdim=True)).sum()
                (free.grad,) = torch.autograd.grad(HOLD * step / steps * held.sum() - gain, free)
            optimizer.step()
        total += wide.detach()[:, 0]
    return total / len(AREAS)
