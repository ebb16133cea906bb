"""Recipro-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.heatmaps.request import Request, methods

AT_ONCE = 64


@methods.register(
    "Recipro-CAM",
    source="Byun and Lee 2022, arXiv:2209.14074",
    use="A fast check without gradients; one run of the rest of the network for each place.",
    unit="TARGET",
    reads="layer",
)
def reciprocam(request: Request, *, smooth: bool = True) -> Float[Tensor, "B h w"]:
    """The target when only one place of the layer is left.

    smooth : leave a Gaussian of 3 x 3 places, as in the paper, and not one place alone.
    """
    activation = request.activation
    batch, _, height, width = activation.shape
    places = torch.eye(height * width, device=activation.device, dtype=activation.dtype).view(-1, 1, height, width)
    if smooth:
        line = torch.tensor([0.25, 0.5, 0.25], device=activation.device, dtype=activation.dtype)
        places = F.conv2d(places, (line[:, None] * line)[None, None] / 0.25, padding=1)
    index = request.each.repeat_interleave(height * width)
    place = torch.arange(height * width, device=activation.device).repeat(batch)
    found = [
        request.resumed(activation[rows] * places[at], rows)
        for rows, at in zip(torch.split(index, AT_ONCE), torch.split(place, AT_ONCE), strict=True)
    ]
    return torch.cat(found).view(batch, height, width)
