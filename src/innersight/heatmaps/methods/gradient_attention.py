"""Gradient-weighted attention."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, methods
from innersight.heatmaps.tokens import Attentions
from innersight.quotients import precise


@methods.register(
    "Gradient-weighted attention",
    source="Chefer et al. 2021, arXiv:2103.15679",
    use="For transformers and a given class; their counterpart of Grad-CAM.",
    unit="TARGET, relevance",
    reads="attention",
)
def gradient_attention(request: Request) -> Float[Tensor, "B h w"]:
    """Relevance that attention carries to the class, block by block.

    Relevance of tokens is carried through the blocks by the positive part of attention times its gradient, mean over
    heads. Never negative.
    """
    found = Attentions(request)
    identity = precise(torch.eye(found.tokens, device=request.x.device))
    # Without the identity that the relevance of every token begins with: beside it small gradients would be lost.
    flow = torch.zeros_like(identity).repeat(len(request.x), 1, 1)
    for weights, gradient in zip(found.weights, found.gradients(), strict=True):
        flow = flow + precise(weights.detach() * gradient).clamp(min=0).mean(1) @ (identity + flow)
    return found.locations(flow)
