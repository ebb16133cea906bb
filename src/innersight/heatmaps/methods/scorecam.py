"""Score-CAM."""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.heatmaps.request import Answer, Trial, methods
from innersight.quotients import precise, quotient

AT_ONCE = 16


@methods.register(
    "Score-CAM",
    source="Wang et al. 2020, arXiv:1910.01279",
    use="To do without gradients at any layer; one run of the network for each unit that is not flat.",
    unit="activation, weighted",
    reads="masks",
    at_layer=True,
    slow=True,
)
def scorecam(trial: Trial) -> Generator[Tensor, Tensor, Answer]:
    """Maps weighted by the target of the image seen through them.

    Every map is scaled to 0..1 and laid over the image; the weights are the softmax over units of what the target
    is then. Units that are the same everywhere get no weight.
    """
    activation = trial.activation
    flat = activation.flatten(1).amax(1) == activation.flatten(1).amin(1)
    scores = [activation.new_empty(0)]
    for part in torch.split(activation[~flat], AT_ONCE) if not flat.all() else ():
        wide = F.interpolate(part[None], trial.size, mode="bilinear", align_corners=True)[0]
        low, high = wide.amin((1, 2), keepdim=True), wide.amax((1, 2), keepdim=True)
        scores.append(precise((yield quotient(wide - low, high - low))))
    weights = torch.cat(scores).softmax(0)
    return Answer((weights[:, None, None] * activation[~flat]).sum(0)[None])
