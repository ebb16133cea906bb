"""The thing that people boxed, and how maps lie on it."""

from jaxtyping import Bool, Float
from torch import Tensor

from innersight.quotients import quotient
from innersight.trust.baselines import baselines
from innersight.trust.case import Case
from innersight.trust.metrics import metrics


def blind(case: Case) -> float:
    """Return the mass in the region of a map that knows nothing: the same everywhere, or the centre, the larger."""
    if case.region is None:
        return float("nan")
    centre = positive_inside(case.wide[[len(case.own) + list(baselines).index("centre")]], case.region)
    return max(float(case.region.double().mean()), float(centre))


@metrics.register("pointing game", better="high")
def pointing(case: Case) -> Float[Tensor, " maps"] | None:
    """Share of images whose highest place lies in the box (Zhang et al. 2018, arXiv:1608.00507).

    Without their tolerance of 15 pixels. Where several places share the highest value, as in a map that is empty, the
    share of them in the region.
    """
    return None if case.region is None else highest_inside(case.wide, case.region)


@metrics.register("mass in box", better="high", chance=blind, against="chance in the boxes")
def mass(case: Case) -> Float[Tensor, " maps"] | None:
    """Share of the positive evidence that lies in the box (Wang et al. 2020, arXiv:1910.01279).

    The energy-based pointing game. A map without positive evidence counts as one that is the same everywhere: it gets
    the region's share of the image.
    """
    return None if case.region is None else positive_inside(case.wide, case.region)


def highest_inside(values: Float[Tensor, "maps H W"], region: Bool[Tensor, "H W"]) -> Float[Tensor, " maps"]:
    """Return the share of the places with a map's highest value that lie in the region."""
    flat = values.flatten(1)
    top = (flat == flat.amax(1, keepdim=True)).float()
    return (top * region.flatten()).sum(1) / top.sum(1)


def positive_inside(values: Float[Tensor, "maps H W"], region: Bool[Tensor, "H W"]) -> Float[Tensor, " maps"]:
    """Return the share of a map's positive values that lies in the region."""
    positive = values.clamp(min=0).flatten(1).double()
    inside, total = (positive * region.flatten()).sum(1), positive.sum(1)
    return quotient(inside, total, float(region.double().mean())).float()
