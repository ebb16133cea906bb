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
    source="Bousselham et al. 2024",
    use="Transformers, for a class; sharper than gradient-weighted attention in deep ones.",
    unit="TARGET per unit of attention",
    reads="attention",
)
def legrad(request: Request) -> Float[Tensor, "B h w"]:
    """How the target, read off after each block, changes with that block's attention.

    (arXiv:2404.03214.) The later blocks are left out, so that the head reads what each one gives; positive part of
    the gradient of the attention, mean over heads, over the tokens that take, and over blocks.
    """
    if request.shared.target.layers:
        raise UnfitError("legrad reads class scores after every block, not a likeness")
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
        places = layer.grid[0] * layer.grid[1]
        made_of = list(request.model.module(layer.name).children())
        if made_of and places > 1 and places + layer.prefix == tokens:
            groups.setdefault(layer.name.rpartition(".")[0], []).append(layer.name)
    for names in groups.values():
        if len(names) == attentions:
            return tuple(names)
    raise UnfitError(f"{request.model.name} has no row of blocks with one attention each")
