"""XGrad-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("layer", "TARGET, weighted")
def xgradcam(request: Request) -> Float[Tensor, "B h w"]:
    """XGrad-CAM: maps weighted by their gradient where they are active (Fu et al. 2020, arXiv:2008.02312).

    When to use: instead of Grad-CAM at layers whose gradient differs from place to place, such as before a dense head.
    """
    activation, gradient = request.activation, request.gradient
    weights = (gradient * activation).sum((2, 3), keepdim=True) / (activation.sum((2, 3), keepdim=True) + 1e-7)
    return (weights * activation).sum(1)
