"""Attention rollout."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods
from innersight.heatmaps.tokens import Attentions
from innersight.quotients import precise


@methods.register(
    "Attention rollout",
    source="Abnar and Zuidema 2020, arXiv:2005.00928",
    use="To see where a transformer attends, whatever the class: the map is the same for every class.",
    unit="share of attention",
    reads="attention",
)
def attention_rollout(request: Request) -> Float[Tensor, "B h w"]:
    """Attention multiplied up from block to block.

    Mean over heads, averaged with the identity for the residual connection of each block. The class token's row, or
    the mean over all tokens where there is none.
    """
    found = Attentions(request)
    identity = precise(torch.eye(found.tokens, device=request.x.device))
    flow = identity.expand(len(request.x), -1, -1)
    for weights in found.weights:
        flow = (precise(weights.detach()).mean(1) + identity) / 2 @ flow
    return found.locations(flow)
