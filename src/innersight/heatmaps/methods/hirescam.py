"""HiRes-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register(
    "HiRes-CAM",
    source="Draelos and Carin 2020, arXiv:2011.08891",
    use=(
        "To be sure that a highlighted location was used; where the rest of the network is linear the values of all "
        "locations sum to the logit minus its bias."
    ),
    unit="TARGET",
    reads="layer",
)
def hirescam(request: Request) -> Float[Tensor, "B h w"]:
    """Each location's activation times its own gradient."""
    return (request.gradient * request.activation).sum(1)
