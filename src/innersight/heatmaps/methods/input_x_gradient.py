"""Input times gradient."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("pixels", "TARGET")
def input_x_gradient(request: Request) -> Float[Tensor, "B H W"]:
    """Input x gradient: the pixel gradient times the network input (Shrikumar et al. 2016, arXiv:1605.01713).

    When to use: a signed, fine first look; a pixel of the mean colour gets nothing whatever it does.
    """
    return (request.x * request.pixel_gradient).sum(1)
