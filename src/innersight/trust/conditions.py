"""Conditions under which the methods are run once more, for metrics that compare their maps."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.engine import BatchResult
from innersight.trust.randomize import shuffled_weights
from innersight.trust.request import TrustRequest

WEIGHTS = "shuffled weights"
LABELS = "shuffled labels"
NOISE = "imperceptible noise"
RADIUS = 0.02
"""Of the noise, as a share of the pixels' range."""

Condition = Callable[[TrustRequest, Tensor, Tensor, Tensor], BatchResult | None]
"""From network inputs (B, C, H, W), their classes (B,), and the inputs on which batch norms are measured."""


def _shuffled_weights(
    request: TrustRequest, x: Float[Tensor, "B C H W"], classes: Tensor, norms: Tensor
) -> BatchResult | None:
    model = request.model
    with shuffled_weights(model, norms.to(model.device, model.dtype), seed=request.seed):
        return request.explain(x, classes)


def _shuffled_labels(
    request: TrustRequest, x: Float[Tensor, "B C H W"], classes: Tensor, norms: Tensor
) -> BatchResult | None:
    del norms
    if request.shuffled_labels is None:
        return None
    return request.explain(x, classes, model=request.shuffled_labels)


def _noise(request: TrustRequest, x: Float[Tensor, "B C H W"], classes: Tensor, norms: Tensor) -> BatchResult | None:
    del norms
    stream = torch.Generator().manual_seed(request.seed)
    radius = RADIUS / torch.tensor(request.model.input.std).view(1, -1, 1, 1)
    return request.explain(x + radius * (2 * torch.rand(x[:1].shape, generator=stream) - 1), classes)


conditions: Mapping[str, Condition] = {WEIGHTS: _shuffled_weights, LABELS: _shuffled_labels, NOISE: _noise}
"""By the name that metrics have for it in their `needs`; a condition that no metric needs is left out."""
