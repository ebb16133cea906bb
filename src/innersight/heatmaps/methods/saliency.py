"""Gradient saliency."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register(
    "Gradient saliency",
    source="Simonyan et al. 2013, arXiv:1312.6034",
    use="For fine structure that the network is sensitive to; not for what supports the class.",
    unit="TARGET per unit of input",
    reads="pixels",
)
def saliency(request: Request) -> Float[Tensor, "B H W"]:
    """How fast the target changes with each pixel.

    The largest absolute value of the channels; never negative.
    """
    return request.pixel_gradient.abs().amax(1)
