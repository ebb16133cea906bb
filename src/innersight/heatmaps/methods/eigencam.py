"""Eigen-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods
from innersight.quotients import scaled


@methods.register(
    "Eigen-CAM",
    source="Muhammad and Yeasin 2020, arXiv:2008.00299",
    use="To see what stands out to the network, whatever the class: the map is the same for every class.",
    unit="activation, projected",
    reads="layer",
)
def eigencam(request: Request) -> Float[Tensor, "B h w"]:
    """Activation maps projected onto their first principal component.

    Maps are centred, and the component, whose sign is arbitrary, points to where the maps are strongest.
    """
    maps = request.activation.flatten(2).transpose(1, 2)
    # What is left of the same value everywhere is rounding, and would have a first component too.
    constant = maps.amax(1, keepdim=True) == maps.amin(1, keepdim=True)
    centred = (maps - maps.mean(1, keepdim=True)).masked_fill(constant, 0)
    component = torch.linalg.svd(scaled(centred, (1, 2)), full_matrices=False).Vh[:, 0]
    values = torch.einsum("bpu,bu->bp", centred, component)
    strength = maps.norm(dim=2)
    along = (values * (strength - strength.mean(1, keepdim=True))).sum(1, keepdim=True)
    return (values * torch.where(along < 0, -1, 1)).view(-1, *request.activation.shape[2:])
