"""Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("layer", "TARGET")
def gradcam(request: Request, *, relu: bool = False) -> Float[Tensor, "B h w"]:
    """Grad-CAM: the maps weighted by their mean gradient (Selvaraju et al. 2017, arXiv:1610.02391).

    When to use: the first look at any convolutional network; coarse but rarely misleading.
    With a head of average pooling and one linear layer the values of all places sum to the logit less its bias, so
    each is that place's share of the logit. relu : drop evidence against the class, as in the paper.
    """
    values = (request.gradient.mean((2, 3), keepdim=True) * request.activation).sum(1)
    return values.clamp(min=0) if relu else values
