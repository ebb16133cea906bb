"""Guided backpropagation."""

from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.heatmaps.request import Request, UnfitError, methods


@methods.register(
    "Guided backpropagation",
    source="Springenberg et al. 2014",
    use="Sharp outlines for the eye; it is almost the same for random weights (Adebayo et al.",
    unit="TARGET per unit of input",
    reads="passes",
)
def guided_backprop(request: Request) -> Float[Tensor, "B H W"]:
    """The gradient without what would lower any ReLU.

    2018), so prove nothing by it. (arXiv:1412.6806.) The strongest channel of each pixel; needs ReLUs.
    """
    with tap.guided() as mode:
        _, gradient = request.slopes(request.x, request.each)
    if not mode.found:
        raise UnfitError(f"guided-backprop changes ReLUs, and {request.model.name} has none")
    strongest = gradient.abs().argmax(1, keepdim=True)
    return gradient.gather(1, strongest)[:, 0]
