"""Grad-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods


@methods.register(
    "Grad-CAM",
    source="Selvaraju et al. 2017, arXiv:1610.02391",
    use="The first look at any convolutional network; coarse but rarely misleading.",
    unit="TARGET",
    reads="layer",
)
def gradcam(request: Request, *, relu: bool = False) -> Float[Tensor, "B h w"]:
    """Activation maps weighted by their mean gradient.

    With a head of average pooling and one linear layer the values of all locations sum to the logit minus its bias, so
    each is that location's share of the logit.

    Parameters
    ----------
    request
        The batch.
    relu
        Set negative values to 0, as in the paper.

    """
    values = (request.gradient.mean((2, 3), keepdim=True) * request.activation).sum(1)
    return values.clamp(min=0) if relu else values
