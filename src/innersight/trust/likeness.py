"""How similar heatmaps are."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.quotients import scaled
from innersight.statistics import rank_correlations

SIDE = 32
Maps = Sequence[Float[Tensor, "_h _w"]]


def on_grid(values: Float[Tensor, "maps h w"], size: tuple[int, int] = (SIDE, SIDE)) -> Float[Tensor, "maps locations"]:
    """Return maps on a common grid, flat: means over its cells, or bilinear where a map is coarser.

    float32, each divided by its largest value: means of equal values, float64, are equal again.
    """
    wide = scaled(values[:, None].double(), (2, 3))
    coarse = values.shape[1] < size[0] or values.shape[2] < size[1]
    if coarse:
        wide = F.interpolate(
            wide, tuple(max(a, b) for a, b in zip(values.shape[1:], size, strict=True)), mode="bilinear"
        )
    return F.adaptive_avg_pool2d(wide, size)[:, 0].flatten(1).float()


def flattened(values: Maps) -> Float[Tensor, "maps locations"]:
    """Return maps on one common grid; values that are not numbers become 0."""
    return torch.cat([on_grid(value[None].nan_to_num(0, 0, 0)) for value in values])


def likeness(first: Maps, second: Maps) -> Float[Tensor, " maps"]:
    """Return the rank correlation of each map with its counterpart, -1 to 1; NaN where one is constant.

    The larger of that of the values and that of their absolute values, for a map whose signs change still shows
    the same locations (Adebayo et al. 2018, arXiv:1810.03292, report both).
    """
    signed = _paired(flattened(first), flattened(second))
    absolute = _paired(flattened([value.abs() for value in first]), flattened([value.abs() for value in second]))
    return torch.fmax(signed, absolute)


def _paired(first: Float[Tensor, "maps locations"], second: Float[Tensor, "maps locations"]) -> Float[Tensor, " maps"]:
    pairs = zip(first.numpy(), second.numpy(), strict=True)
    return torch.tensor([rank_correlations(np.stack(pair))[0, 1] for pair in pairs]).float()
