"""Sanity checks: the same method on a network that learned nothing of this (Adebayo et al. 2018, arXiv:1810.03292)."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.masked import Asking
from innersight.trust.case import Case
from innersight.trust.faithfulness import curves, ranking
from innersight.trust.likeness import likeness
from innersight.trust.metrics import SAME, metrics

WEIGHTS = "shuffled weights"
LABELS = "shuffled labels"


@metrics.register("the same, shuffled", better="low", fill=SAME)
def twins(case: Case) -> Asking[Float[Tensor, " methods"]]:
    """Score of the map that the method gives for the network with shuffled weights."""
    orders = torch.stack([ranking(twin, case.size, case.rng)[0] for twin in case.others[WEIGHTS]])
    found = yield from curves(orders, case.steps)
    return found.scores[:, 0]


@metrics.register("like shuffled", better="low")
def like_shuffled(case: Case) -> Float[Tensor, " methods"]:
    """Rank correlation with the map for the network with shuffled weights (parameter randomization)."""
    return likeness(case.own, case.others[WEIGHTS])


@metrics.register("like mislabelled", better="low")
def like_mislabelled(case: Case) -> Float[Tensor, " methods"] | None:
    """Rank correlation with the map for a network trained on shuffled labels (label randomization)."""
    return likeness(case.own, case.others[LABELS]) if LABELS in case.others else None
