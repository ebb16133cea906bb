"""How well maps agree with regions that people marked."""

from jaxtyping import Bool, Float
from torch import Tensor

from innersight.quotients import quotient
from innersight.trust.baselines import baselines
from innersight.trust.case import Case
from innersight.trust.metrics import REGIONS, metrics


def chance_mass(case: Case) -> float:
    """Return the mass in the region of a map that knows nothing: a uniform one or the centre, whichever is larger."""
    if case.region is None:
        return float("nan")
    centre = positive_inside(case.wide[[len(case.own) + list(baselines).index("centre")]], case.region)
    return max(float(case.region.double().mean()), float(centre))


@metrics.register("pointing game", source="Zhang et al. 2018, arXiv:1608.00507", better="high", needs=(REGIONS,))
def pointing(case: Case) -> Float[Tensor, " maps"]:
    """Share of images whose highest value lies in the marked region.

    Without their tolerance of 15 pixels. Where several locations share the highest value, as in an empty map, the share
    of them in the region.
    """
    assert case.region is not None
    return highest_inside(case.wide, case.region)


@metrics.register(
    "mass in region",
    source="Wang et al. 2020, arXiv:1910.01279",
    better="high",
    needs=(REGIONS,),
    chance=chance_mass,
    against="chance in the marked regions",
)
def mass(case: Case) -> Float[Tensor, " maps"]:
    """Share of the positive values that lies in the marked region.

    The energy-based pointing game. A map without positive values counts as a uniform one: it gets the region's share of
    the image.
    """
    assert case.region is not None
    return positive_inside(case.wide, case.region)


def highest_inside(values: Float[Tensor, "maps H W"], region: Bool[Tensor, "H W"]) -> Float[Tensor, " maps"]:
    """Return the share of the locations with a map's highest value that lie in the region."""
    flat = values.flatten(1)
    top = (flat == flat.amax(1, keepdim=True)).float()
    return (top * region.flatten()).sum(1) / top.sum(1)


def positive_inside(values: Float[Tensor, "maps H W"], region: Bool[Tensor, "H W"]) -> Float[Tensor, " maps"]:
    """Return the share of a map's positive values that lies in the region."""
    positive = values.clamp(min=0).flatten(1).double()
    inside, total = (positive * region.flatten()).sum(1), positive.sum(1)
    return quotient(inside, total, float(region.double().mean())).float()
