"""Gradient saliency."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("pixels", "TARGET per unit of input")
def saliency(request: Request) -> Float[Tensor, "B H W"]:
    """Gradient saliency: how fast the target changes with each pixel (Simonyan et al. 2013, arXiv:1312.6034).

    When to use: to see fine structure the network is sensitive to; says nothing about what adds to the class.
    The largest of the colour channels; never negative.
    """
    return request.pixel_gradient.abs().amax(1)
