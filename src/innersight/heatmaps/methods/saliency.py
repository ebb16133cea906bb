"""Gradient saliency."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register
def saliency(request: Request) -> Float[Tensor, "B H W"]:
    """Gradient saliency: how fast the logit changes with each pixel (Simonyan et al. 2013, arXiv:1312.6034).

    When to use: to see fine structure the network is sensitive to; says nothing about what adds to the class.
    The largest of the colour channels; never negative; logits per unit of normalised input.
    """
    with torch.enable_grad():
        x = request.x.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(request.score(request.model.logits(x)).sum(), x)
    return gradient.abs().amax(1)
