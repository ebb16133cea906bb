"""Score-CAM."""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.heatmaps.request import MethodOutput, Trial, methods
from innersight.quotients import precise, quotient

AT_ONCE = 16


@methods.register(
    "Score-CAM",
    source="Wang et al. 2020, arXiv:1910.01279",
    use="For any layer without gradients; one pass of the network for each unit whose map is not constant.",
    unit="activation, weighted",
    reads="masks",
    at_layer=True,
    passes=512,
)
def scorecam(trial: Trial) -> Generator[Tensor, Tensor, MethodOutput]:
    """Activation maps weighted by the target of the image masked by them.

    Every map is scaled to 0..1 and multiplied with the image; the weights are the softmax of the target over units.
    Constant maps get no weight.
    """
    activation = trial.activation
    flat = activation.flatten(1).amax(1) == activation.flatten(1).amin(1)
    scores = [activation.new_empty(0)]
    for part in torch.split(activation[~flat], AT_ONCE) if not flat.all() else ():
        wide = F.interpolate(part[None], trial.size, mode="bilinear", align_corners=True)[0]
        low, high = wide.amin((1, 2), keepdim=True), wide.amax((1, 2), keepdim=True)
        scores.append(precise((yield quotient(wide - low, high - low))))
    weights = torch.cat(scores).softmax(0)
    return MethodOutput((weights[:, None, None] * activation[~flat]).sum(0)[None])
