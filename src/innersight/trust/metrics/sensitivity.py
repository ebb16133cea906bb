"""Sensitivity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.trust.case import Case
from innersight.trust.conditions import NOISE
from innersight.trust.metrics import metrics


@metrics.register("sensitivity", source="Yeh et al. 2019, arXiv:1901.09392", better="low", needs=(NOISE,))
def sensitivity(case: Case) -> Float[Tensor, " methods"]:
    """Change of the map under imperceptible noise, as a share of the map.

    To one draw of uniform noise of 0.02 of the pixels' range; the paper's is
    the largest over many draws. NaN where the map is empty.
    """
    return torch.tensor([change(value, other) for value, other in zip(case.own, case.others[NOISE], strict=True)])


def change(before: Float[Tensor, "h w"], after: Float[Tensor, "h w"]) -> float:
    """Return by how much a map changed, as a share of its size; NaN where it was empty."""
    size = float(before.double().norm())
    return float((after.double() - before.double()).norm()) / size if size > 0 else math.nan
