"""Insertion and deletion."""

from jaxtyping import Float
from torch import Tensor

from innersight.trust.case import Case
from innersight.trust.faithfulness import area
from innersight.trust.metrics import metrics


@metrics.register("insertion - deletion", source="Petsiuk et al. 2018, arXiv:1806.07421", better="high", primary=True)
def faithfulness(case: Case) -> Float[Tensor, " maps"]:
    """Area under insertion minus area under deletion, -1 to 1.

    Reversing a map's order changes its sign; that of a random order is 0 on
    average.
    """
    assert case.curves is not None
    return case.curves.scores[:, 0]


@metrics.register("deletion", source="Petsiuk et al. 2018, arXiv:1806.07421", better="low", component=True)
def deletion(case: Case) -> Float[Tensor, " maps"]:
    """Area under the probability while the most important pixels are removed, 0 to 1."""
    assert case.curves is not None
    return area(case.curves.deletion)[:, 0]


@metrics.register("insertion", source="Petsiuk et al. 2018, arXiv:1806.07421", better="high", component=True)
def insertion(case: Case) -> Float[Tensor, " maps"]:
    """Area under the probability while the most important pixels are inserted, 0 to 1."""
    assert case.curves is not None
    return area(case.curves.insertion)[:, 0]
