"""Grad-CAM++."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("layer", "activation, weighted")
def gradcam_plus_plus(request: Request) -> Float[Tensor, "B h w"]:
    """Grad-CAM++: maps weighted by their positive gradients, small areas as much as large (Chattopadhay et al. 2018).

    When to use: several things of one class in a picture, of which Grad-CAM shows only the largest.
    Weights by equation 19 of the paper (arXiv:1710.11063), with its assumption of an exponential score; never negative
    weights. A place without gradient counts nothing.
    """
    activation, gradient = request.activation, request.gradient
    square = gradient.square()
    below = 2 * square + activation.sum((2, 3), keepdim=True) * square * gradient
    share = torch.where(gradient != 0, square / (below + 1e-6), 0)
    weights = (share * gradient.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * activation).sum(1)
