"""Layer-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register(
    "Layer-CAM",
    source="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
    use="For fine maps from early layers, where the mean gradient of Grad-CAM says little.",
    unit="TARGET",
    reads="layer",
    may_be_empty=True,
)
def layercam(request: Request) -> Float[Tensor, "B h w"]:
    """Activation times positive gradient, location by location."""
    return (request.gradient.clamp(min=0) * request.activation).sum(1)
