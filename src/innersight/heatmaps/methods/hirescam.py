"""HiRes-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("layer", "TARGET")
def hirescam(request: Request) -> Float[Tensor, "B h w"]:
    """HiRes-CAM: each place's activation times its own gradient (Draelos and Carin 2020, arXiv:2011.08891).

    When to use: to be sure that a coloured place was used; where the rest of the network is linear the values of all
    places sum to the logit less its bias.
    """
    return (request.gradient * request.activation).sum(1)
