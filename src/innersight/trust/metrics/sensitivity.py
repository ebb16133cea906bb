"""Sensitivity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.trust.case import Case
from innersight.trust.metrics import register


@register("sensitivity", "low")
def sensitivity(case: Case) -> Float[Tensor, " methods"]:
    """Largest change of the map under noise that nobody sees, as a share of the map.

    Max-sensitivity (Yeh et al. 2019, arXiv:1901.09392) over uniform noise of 0.02 of the pixels' range. NaN where the
    map is empty.
    """
    nearby = [maps for name, maps in case.others.items() if name.startswith("nearby")]
    changes = [[change(value, other) for value, other in zip(case.own, maps, strict=True)] for maps in nearby]
    return torch.tensor(changes).amax(0)


def change(before: Float[Tensor, "h w"], after: Float[Tensor, "h w"]) -> float:
    """Return by how much a map changed, as a share of its size; NaN where it was empty."""
    size = float(before.double().norm())
    return float((after.double() - before.double()).norm()) / size if size > 0 else math.nan
