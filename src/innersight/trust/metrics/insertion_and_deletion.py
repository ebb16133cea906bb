"""Insertion and deletion."""

from jaxtyping import Float
from torch import Tensor

from innersight.trust.case import Case
from innersight.trust.faithfulness import area
from innersight.trust.metrics import metrics


@metrics.register("insertion - deletion", better="high")
def faithfulness(case: Case) -> Float[Tensor, " maps"]:
    """Area under insertion minus area under deletion, -1 to 1.

    Petsiuk et al. 2018 (arXiv:1806.07421). Reversing a map's order turns its sign; a random order expects 0.
    """
    assert case.curves is not None
    return case.curves.scores[:, 0]


@metrics.register("deletion", better="low")
def deletion(case: Case) -> Float[Tensor, " maps"]:
    """Area under the probability while the highest places are removed, 0 to 1."""
    assert case.curves is not None
    return area(case.curves.deletion)[:, 0]


@metrics.register("insertion", better="high")
def insertion(case: Case) -> Float[Tensor, " maps"]:
    """Area under the probability while the highest places are brought back, 0 to 1."""
    assert case.curves is not None
    return area(case.curves.insertion)[:, 0]
