"""Infidelity."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.heatmaps.masked import Asking
from innersight.trust.case import Case
from innersight.trust.metrics import SAME, register

CELLS = 7
DRAWS = 48


@register("infidelity", "low", fill=SAME)
def infidelity(case: Case) -> Asking[Float[Tensor, " maps"]]:
    """Share of the logit's losses from random removals that the map does not foretell.

    Yeh et al. 2019 (arXiv:1901.09392), with cells removed at random and their optimal scale of the map, as a share of
    the mean squared loss: 0 for a map whose sums over what is removed are proportional to the losses, 1 for one that
    says nothing of them. NaN where the logit never changes.
    """
    stream = torch.Generator().manual_seed(case.seed)
    grid = (torch.rand((DRAWS, 1, CELLS, CELLS), generator=stream) < 0.5).float()
    kept = F.interpolate(grid, case.size, mode="nearest")[:, 0] > 0
    whole = (yield torch.ones_like(kept[:1]))[:, 1].double()
    lost = whole - (yield kept)[:, 1].double()
    told = case.wide.flatten(1).double() @ (~kept).flatten(1).double().T
    scale = (told * lost).sum(1, keepdim=True) / told.square().sum(1, keepdim=True).clamp(min=1e-30)
    return ((scale * told - lost).square().mean(1) / lost.square().mean()).float()
