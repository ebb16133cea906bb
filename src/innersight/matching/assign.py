"""Which unit became which: one to one, beyond chance, and keeping numbers where possible."""

import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from scipy.stats import t
from torch import Tensor

from innersight.matching.result import LayerMatch


def assign(
    layer: str,
    correlation: Float[Tensor, "units units"],
    left: "list[Tensor]",
    threshold: float,
    silent: Bool[Tensor, "2 units"],
    cka: float,
) -> LayerMatch:
    """Pair the units before (rows) with those after (columns).

    left : the correlations without one group of images each, for the interval. silent : before and after, which units
    are constant. A unit keeps its number where it is beyond chance and no other pair of either is higher by more than
    its interval; the others are paired so that the sum of correlations is the highest possible.
    """
    usable = (correlation > threshold) & ~silent[0][:, None] & ~silent[1]
    weight = torch.where(usable, correlation, 0.0)
    units = torch.arange(len(correlation))
    own = weight.diagonal()
    _, high = interval(own, [part.diagonal() for part in left])
    others = weight.clone().fill_diagonal_(0)
    rival = torch.maximum(others.amax(0), others.amax(1)) if len(units) > 1 else torch.zeros_like(own)
    keeps = (own > 0) & (high >= rival)
    partner = torch.where(keeps, units, -1)
    free = units[~keeps]
    rows, columns = linear_sum_assignment(weight[free][:, free].numpy(), maximize=True)
    for i, j in zip(free[rows].tolist(), free[columns].tolist(), strict=True):
        if weight[i, j] > 0:
            partner[j] = i
    best = torch.where(partner >= 0, correlation[partner, units], correlation.amax(0))
    row = torch.where(partner >= 0, partner, correlation.argmax(0))
    low, high = interval(best, [part[row, units] for part in left])
    bounds = torch.stack([low, high]).float()
    return LayerMatch(layer, correlation.float(), partner, best.float(), bounds, threshold, silent, cka)


def interval(
    found: Float[Tensor, " n"], left: "list[Tensor]", *, level: float = 0.95
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the jackknife interval of correlations, on Fisher's z; their own values where there are no groups.

    left : the correlations (n,) without one group each. Tukey 1958 (Annals of Mathematical Statistics 29, 614).
    """
    if len(left) < 3:
        return found, found
    z = torch.atanh(torch.stack(left).clamp(-1 + 1e-12, 1 - 1e-12))
    groups = len(left)
    error = ((groups - 1) / groups * (z - z.mean(0)).square().sum(0)).sqrt()
    half = float(t.ppf((1 + level) / 2, groups - 1)) * error
    middle = torch.atanh(found.clamp(-1 + 1e-12, 1 - 1e-12))
    return torch.tanh(middle - half), torch.tanh(middle + half)
