"""The values that a layer gives for natural images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.patterns.objectives import Distribution, Read, Rows, objectives

SIDE = 24  # locations a side, at most, whose values are compared


@objectives.register(
    "Natural activations",
    source="Gorgun et al. 2025 (VITAL), arXiv:2503.22399",
    use="added to another objective by the option `natural`, so that a pattern looks like the images that excite it",
    takes="layer",
    given=Distribution,
    alone=False,
)
def natural(rows: Rows) -> Read:
    """Have a layer's values, in ascending order, be those of natural images: minus the weighted squared distance.

    Set by `natural`.
    """
    known = [term.given for term in rows.terms if isinstance(term.given, Distribution)]
    wanted = torch.stack([one.values for one in known]).to(rows.at.device)
    weights = torch.stack([one.weights for one in known]).to(rows.at.device)

    def read(values: Tensor) -> Tensor:
        apart = ascending(values[rows.at], wanted.shape[2]) - wanted
        return -(apart.square().mean(2) * weights).sum(1)

    return read


def ascending(values: Tensor, count: int | None = None) -> Tensor:
    """Return (n, units, count) values of maps (n, units, h, w) in ascending order, at most SIDE x SIDE when None."""
    every = [-(-side // SIDE) for side in values.shape[2:]]
    found: Tensor = values[:, :, :: every[0], :: every[1]].float().flatten(2).sort(2).values
    if count is not None and found.shape[2] != count:
        # Part of an image, or one of another size.
        found = F.interpolate(found, count, mode="linear", align_corners=True)
    return found
