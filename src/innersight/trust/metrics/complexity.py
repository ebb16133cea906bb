"""Complexity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.quotients import quotient
from innersight.trust.case import Case
from innersight.trust.metrics import metrics


@metrics.register("complexity", better="")
def complexity(case: Case) -> Float[Tensor, " maps"]:
    """Entropy of how the map's size is spread: 0 all in one place, 1 the same everywhere.

    Bhatt et al. 2020 (arXiv:2005.00631), as a share of the highest; 1 for a map that is empty.
    """
    return entropy(case.wide)


def entropy(values: Float[Tensor, "maps H W"]) -> Float[Tensor, " maps"]:
    """Return the entropy of the sizes of values over the places, as a share of the highest."""
    size = values.abs().flatten(1).double()
    total = size.sum(1, keepdim=True)
    share = quotient(size, total.expand_as(size), 1 / size.shape[1])
    found: Tensor = -torch.special.xlogy(share, share).sum(1) / math.log(max(2, size.shape[1]))
    return found.float()
