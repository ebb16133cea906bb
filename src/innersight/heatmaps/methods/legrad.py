"""LeGrad."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.heatmaps.request import Request, UnfitError, methods
from innersight.heatmaps.tokens import Attentions
from innersight.layers import survey
from innersight.quotients import precise


@methods.register(
    "LeGrad",
    source="Bousselham et al. 2024, arXiv:2404.03214",
    use="For transformers and a given class; sharper than gradient-weighted attention in deep ones.",
    unit="TARGET per unit of attention",
    reads="attention",
    passes=12,
)
def legrad(request: Request) -> Float[Tensor, "B h w"]:
    """How the target, computed from each block's output, changes with that block's attention.

    The later blocks are skipped, so that the head is applied to the output of each; positive part of the gradient of
    the attention, mean over heads, over query tokens, and over blocks.
    """
    if request.shared.target.layers:
        raise UnfitError("legrad reads class scores after every block, not a similarity")
    found = Attentions(request)
    blocks = _blocks(request, len(found.weights), found.tokens)
    total = precise(torch.zeros(len(request.x), found.tokens, device=request.x.device))
    for last in range(len(blocks)):
        with torch.enable_grad(), tap.attention() as mode, tap.ending(request.model, blocks, last):
            outputs = request.model.logits(request.x)
            score = request.shared.target.score(tap.Captured({}, outputs), request.each).sum()
        (gradient,) = tap.gradients(request.model, score, [mode.weights[last]], allow_unused=True)
        if gradient is not None:
            total += precise(tap.heads(gradient, len(total))).clamp(min=0).mean((1, 2))
    return found.grid_of(total / len(blocks))


def _blocks(request: Request, attentions: int, tokens: int) -> tuple[str, ...]:
    """Return the blocks of the network: siblings that give tokens, one for each attention."""
    groups: dict[str, list[str]] = {}
    for layer in survey(request.model):
        locations = layer.grid[0] * layer.grid[1]
        made_of = list(request.model.module(layer.name).children())
        if made_of and locations > 1 and locations + layer.prefix == tokens:
            groups.setdefault(layer.name.rpartition(".")[0], []).append(layer.name)
    for names in groups.values():
        if len(names) == attentions:
            return tuple(names)
    raise UnfitError(f"{request.model.name} has no sequence of blocks with one attention each")
