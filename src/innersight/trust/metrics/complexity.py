"""Complexity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.quotients import quotient
from innersight.trust.case import Case
from innersight.trust.metrics import metrics


@metrics.register("complexity", source="Bhatt et al. 2020, arXiv:2005.00631", better="")
def complexity(case: Case) -> Float[Tensor, " maps"]:
    """Entropy of the map's absolute values, normalized: 0 for a single location, 1 for a uniform map.

    As a share of the highest possible; 1 for an empty map.
    """
    return entropy(case.wide)


def entropy(values: Float[Tensor, "maps H W"]) -> Float[Tensor, " maps"]:
    """Return the entropy of the absolute values over the locations, as a share of the highest possible."""
    size = values.abs().flatten(1).double()
    total = size.sum(1, keepdim=True)
    share = quotient(size, total.expand_as(size), 1 / size.shape[1])
    found: Tensor = -torch.special.xlogy(share, share).sum(1) / math.log(max(2, size.shape[1]))
    return found.float()
