"""Ablation-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.heatmaps.request import Request, UnfitError, methods

AT_ONCE = 64


@methods.register(
    "Ablation-CAM",
    source="Ramaswamy and Desai 2020, doi:10.1109/WACV45572.2020.9093360",
    use="To check Grad-CAM without gradients, which saturate; exact for each unit on its own.",
    unit="TARGET x activation",
    reads="layer",
)
def ablationcam(request: Request) -> Float[Tensor, "B h w"]:
    """Activation maps weighted by what the target loses when each is ablated.

    The loss itself is the weight, not its share of the score, which may be negative. Where the rest of the network is
    affine the loss is known without a pass.
    """
    activation = request.activation
    batch, units = activation.shape[:2]
    if (slope := _affine(request)) is not None:
        loss = (slope * activation).sum((2, 3))
    else:
        index = request.each.repeat_interleave(units)
        unit = torch.arange(units, device=activation.device).repeat(batch)
        left = []
        for rows, silent in zip(torch.split(index, AT_ONCE), torch.split(unit, AT_ONCE), strict=True):
            variants = activation[rows]
            variants[torch.arange(len(rows)), silent] = 0
            left.append(request.resumed(variants, rows))
        loss = request.scores[:, None] - torch.cat(left).view(batch, units)
    return (loss[:, :, None, None] * activation).sum(1)


def _affine(request: Request) -> Tensor | None:
    """Return the gradient at the layer if the target is an affine function of it; compared with runs."""
    try:
        slope = request.gradient
    except UnfitError:
        return None
    tried = tap.trials(request.activation, request.generator())
    truth = tuple(request.resumed(trial, request.each) for trial in tried)
    values = request.shared.scores.detach()
    return slope if tap.affine(request.activation, slope, values, tried, truth) else None
