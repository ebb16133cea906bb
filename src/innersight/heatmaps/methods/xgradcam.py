"""XGrad-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods
from innersight.quotients import quotient

ROUNDING = 1024
"""Units in the last place by which a map may miss a sum of zero: a norm rounds by the values that it is given."""


@methods.register(
    "XGrad-CAM",
    source="Fu et al. 2020, arXiv:2008.02312",
    use="Instead of Grad-CAM at layers whose gradient varies over locations, such as before a dense head.",
    unit="TARGET, weighted",
    reads="layer",
)
def xgradcam(request: Request) -> Float[Tensor, "B h w"]:
    """Activation maps weighted by their gradient where they are active.

    The weight is the mean gradient, each location weighted by its share of the map's sum. A map whose sum is zero up to
    rounding, as behind an instance norm, has no such shares and does not count.
    """
    activation, gradient = request.activation, request.gradient
    total, size = activation.sum((2, 3), keepdim=True), activation.abs().sum((2, 3), keepdim=True)
    rounding = ROUNDING * torch.finfo(request.x.dtype).eps * size
    total = total.masked_fill(total.abs() <= rounding, 0)
    return (quotient((gradient * activation).sum((2, 3), keepdim=True), total) * activation).sum(1)
