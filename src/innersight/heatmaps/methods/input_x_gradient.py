"""Input times gradient."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register(
    "Input x gradient",
    source="Shrikumar et al. 2016, arXiv:1605.01713",
    use="For a signed, fine first look; a pixel of the mean colour gets 0 whatever it does.",
    unit="TARGET",
    reads="pixels",
)
def input_x_gradient(request: Request) -> Float[Tensor, "B H W"]:
    """The pixel gradient times the network input."""
    return (request.x * request.pixel_gradient).sum(1)
