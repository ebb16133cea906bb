"""Attention of a batch, as how much each location contributes to the output."""

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.heatmaps.request import Request, UnfitError
from innersight.layers import survey


class Attentions:
    """The attention weights of every block for a batch, with their graph.

    weights : (B, heads, N, N) each, in the order of the forward pass, rows the query tokens. tokens : N.
    """

    def __init__(self, request: Request) -> None:
        model, target = request.model, request.shared.target
        x = request.x.detach().clone().requires_grad_(True)
        with torch.enable_grad(), tap.attention() as mode:
            captured = tap.capture(model, x, target.layers, stop=False)
            self.scores = target.score(captured, request.each)
        self._model, self._used = model, mode.weights
        self.tokens, self._prefix, self._grid = _grid(request, [w.shape[-1] for w in mode.weights])
        # In windows there are more rows than images, or fewer tokens than the grid has locations.
        if any(rows != len(x) for rows in mode.rows) or any(w.shape[-1] != self.tokens for w in mode.weights):
            raise UnfitError(f"{model.name} attends inside windows or between grids of several sizes")
        self.weights = [tap.heads(weights, len(x)) for weights in mode.weights]

    def gradients(self) -> list[Float[Tensor, "B heads N N"]]:
        """Return the gradient of the target at every block's weights."""
        ones = torch.ones_like(self.scores)
        found = tap.gradients(self._model, self.scores, self._used, ones, allow_unused=True)
        filled = [torch.zeros_like(w) if g is None else g for w, g in zip(self._used, found, strict=True)]
        return [tap.heads(gradient, len(self.scores)) for gradient in filled]

    def locations(self, flow: Float[Tensor, "B N N"]) -> Float[Tensor, "B h w"]:
        """Return how much the class token attends to each location; the mean over all tokens where there is none."""
        return self.grid_of(flow[:, 0] if self._prefix else flow.mean(1))

    def grid_of(self, tokens: Float[Tensor, "B N"]) -> Float[Tensor, "B h w"]:
        """Return the tokens of the grid as a map."""
        return tokens[:, self._prefix :].reshape(-1, *self._grid)


def _grid(request: Request, sizes: list[int]) -> tuple[int, int, tuple[int, int]]:
    """Return tokens, tokens before those of the grid, and the grid, of the layer that matches the attention."""
    model = request.model
    if not sizes:
        raise UnfitError(f"{model.name} has no self-attention")
    for layer in survey(model):
        locations = layer.grid[0] * layer.grid[1]
        if locations > 1 and layer.axes != "buhw" and locations + layer.prefix == sizes[-1]:
            return sizes[-1], layer.prefix, layer.grid
    raise UnfitError(f"the tokens of {model.name} ({sizes[-1]}) do not form a grid with other tokens before it")
