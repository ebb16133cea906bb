"""Gradient-weighted attention."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.request import Request, register
from innersight.heatmaps.tokens import Attentions


@register("attention", "TARGET, relevance")
def gradient_attention(request: Request) -> Float[Tensor, "B h w"]:
    """Gradient-weighted attention: what attention moves towards the class, block after block (Chefer et al. 2021).

    When to use: transformers, for a class; the counterpart of Grad-CAM there.
    (arXiv:2103.15679.) Relevance of tokens is carried through the blocks by the positive part of attention times its
    gradient, mean over heads. Never negative.
    """
    found = Attentions(request)
    flow = torch.eye(found.tokens, device=request.x.device, dtype=request.x.dtype).repeat(len(request.x), 1, 1)
    start = flow.clone()
    for weights, gradient in zip(found.weights, found.gradients(), strict=True):
        flow = flow + (weights.detach() * gradient).clamp(min=0).mean(1) @ flow
    return found.places(flow - start)
