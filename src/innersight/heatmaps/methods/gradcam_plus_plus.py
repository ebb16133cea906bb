"""Grad-CAM++."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods
from innersight.quotients import quotient


@methods.register(
    "Grad-CAM++",
    source="Chattopadhay et al. 2018, arXiv:1710.11063",
    use="For several objects of one class in an image, of which Grad-CAM shows only the largest.",
    unit="activation, weighted",
    reads="layer",
    may_be_empty=True,
)
def gradcam_plus_plus(request: Request) -> Float[Tensor, "B h w"]:
    """Activation maps weighted by their positive gradients, small areas as much as large ones.

    Weights by equation 19 of the paper, with its assumption of an exponential score; weights are never negative. The
    squared gradient is cancelled from the equation, so that its size does not matter: with S the sum of the map, a
    location of gradient g counts 1 / (2 + S g). A location without gradient does not count.
    """
    activation, gradient = request.activation, request.gradient
    share = quotient(gradient.new_ones(()), 2 + activation.sum((2, 3), keepdim=True) * gradient)
    weights = (share * gradient.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * activation).sum(1)
