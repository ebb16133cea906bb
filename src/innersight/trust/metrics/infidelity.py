"""Infidelity."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.heatmaps.masked import MaskedPasses
from innersight.quotients import normalised
from innersight.trust.case import Case
from innersight.trust.metrics import SAME, metrics

CELLS = 7
DRAWS = 48


@metrics.register(
    "infidelity",
    source="Yeh et al. 2019, arXiv:1901.09392",
    better="low",
    imputer=SAME,
    masks=lambda methods, maps, steps: DRAWS,
)
def infidelity(case: Case) -> MaskedPasses[Float[Tensor, " maps"]]:
    """Share of the variance of the logit's loss over random removals that the map does not explain.

    After the paper: the mean squared difference between what the logit loses and the map's sum
    over what is removed, as a share of the variance of the losses, with the best positive scale for each map, and
    beyond what the size of the removed area explains. 0 : the sums predict the losses. 1 : they do not, or predict the
    opposite. NaN where the logit never changes.
    """
    stream = torch.Generator().manual_seed(case.seed)
    grid = (torch.rand((DRAWS, 1, CELLS, CELLS), generator=stream) < 0.5).float()
    kept = F.interpolate(grid, case.size, mode="nearest")[:, 0] > 0
    lost = -(yield kept)[:, 1].double()
    gone = (~kept).flatten(1).double()
    size = torch.stack([torch.ones(DRAWS).double(), gone.sum(1)], 1)
    predicted, lost = _beyond(case.wide.flatten(1).double() @ gone.T, size), _beyond(lost[None], size)[0]
    # 1 less the squared cosine: neither the size of the map nor that of the logits counts.
    explained = normalised(predicted, 1) @ normalised(lost, 0)
    return (1 - explained.clamp(min=0).square()).masked_fill(~lost.any(), torch.nan).float()


def _beyond(values: Float[Tensor, "rows draws"], known: Float[Tensor, "draws n"]) -> Float[Tensor, "rows draws"]:
    """Return what a linear function of the known numbers does not explain; exactly 0 where that is rounding."""
    basis, _ = torch.linalg.qr(known)
    rest = values - (values @ basis) @ basis.T
    rounding = rest.norm(dim=1, keepdim=True) <= 1e-6 * values.norm(dim=1, keepdim=True)
    return torch.where(rounding, 0.0, rest)
