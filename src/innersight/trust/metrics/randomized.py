"""Sanity checks: the same method on a network that learned nothing of this (Adebayo et al. 2018, arXiv:1810.03292)."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.masked import MaskedPasses
from innersight.trust.case import Case
from innersight.trust.conditions import LABELS, WEIGHTS
from innersight.trust.faithfulness import curves, masks_of
from innersight.trust.likeness import likeness
from innersight.trust.metrics import SAME, metrics


@metrics.register(
    "score, shuffled weights",
    source="Adebayo et al. 2018, arXiv:1810.03292",
    better="low",
    imputer=SAME,
    masks=lambda methods, maps, steps: masks_of(methods, steps),
    needs=(WEIGHTS,),
    control=WEIGHTS,
)
def shuffled_score(case: Case) -> MaskedPasses[Float[Tensor, " methods"]]:
    """Score of the map that the method gives for the network with shuffled weights."""
    orders = torch.stack([case.ranking(other)[0] for other in case.others[WEIGHTS]])
    found = yield from curves(orders, case.steps)
    return found.scores[:, 0]


@metrics.register(
    "similarity, shuffled weights",
    source="Adebayo et al. 2018, arXiv:1810.03292",
    better="low",
    needs=(WEIGHTS,),
    doubtful_from=0.5,
)
def weight_randomization(case: Case) -> Float[Tensor, " methods"]:
    """Rank correlation with the map for the network with shuffled weights (model parameter randomization test)."""
    return likeness(case.own, case.others[WEIGHTS])


@metrics.register(
    "similarity, shuffled labels",
    source="Adebayo et al. 2018, arXiv:1810.03292",
    better="low",
    needs=(LABELS,),
    doubtful_from=0.5,
)
def label_randomization(case: Case) -> Float[Tensor, " methods"]:
    """Rank correlation with the map for a network trained on shuffled labels (data randomization test)."""
    return likeness(case.own, case.others[LABELS])
