"""Guided backpropagation."""

from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.heatmaps.request import Request, UnfitError, methods


@methods.register(
    "Guided backpropagation",
    source="Springenberg et al. 2014, arXiv:1412.6806",
    use=(
        "For sharp outlines; nearly the same for random weights (Adebayo et al. 2018, arXiv:1810.03292), so it proves "
        "nothing about the network."
    ),
    unit="TARGET per unit of input",
    reads="passes",
)
def guided_backprop(request: Request) -> Float[Tensor, "B H W"]:
    """The gradient with negative parts removed at every ReLU.

    The strongest channel of each pixel; needs ReLUs.
    """
    with tap.guided() as mode:
        _, gradient = request.slopes(request.x, request.each)
    if not mode.found:
        raise UnfitError(f"guided-backprop changes ReLUs, and {request.model.name} has none")
    strongest = gradient.abs().argmax(1, keepdim=True)
    return gradient.gather(1, strongest)[:, 0]
