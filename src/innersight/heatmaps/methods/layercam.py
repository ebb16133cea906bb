"""Layer-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register


@register("layer", "TARGET")
def layercam(request: Request) -> Float[Tensor, "B h w"]:
    """Layer-CAM: activation times positive gradient, place by place (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943).

    When to use: fine maps from early layers, where the mean gradient of Grad-CAM says little.
    """
    return (request.gradient.clamp(min=0) * request.activation).sum(1)
