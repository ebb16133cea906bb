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
    use="For a fast check without gradients; one pass of the rest of the network for each location.",
    unit="TARGET",
    reads="layer",
)
def reciprocam(request: Request, *, smooth: bool = True) -> Float[Tensor, "B h w"]:
    """The target when only one location of the layer is left.

    Parameters
    ----------
    request
        The batch.
    smooth
        Leave a Gaussian of 3 x 3 locations, as in the paper, instead of a single one.

    """
    activation = request.activation
    batch, _, height, width = activation.shape
    locations = torch.eye(height * width, device=activation.device, dtype=activation.dtype).view(-1, 1, height, width)
    if smooth:
        line = torch.tensor([0.25, 0.5, 0.25], device=activation.device, dtype=activation.dtype)
        locations = F.conv2d(locations, (line[:, None] * line)[None, None] / 0.25, padding=1)
    index = request.each.repeat_interleave(height * width)
    number = torch.arange(height * width, device=activation.device).repeat(batch)
    found = [
        request.resumed(activation[rows] * locations[at], rows)
        for rows, at in zip(torch.split(index, AT_ONCE), torch.split(number, AT_ONCE), strict=True)
    ]
    return torch.cat(found).view(batch, height, width)
