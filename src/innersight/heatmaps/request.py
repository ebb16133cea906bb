"""What a heatmap method is asked, and the registry of methods."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from innersight import tap
from innersight.model import Model
from innersight.registry import Registry


@dataclass(frozen=True, eq=False)
class Request:
    """Pictures to explain.

    x : (B, C, H, W) network input. targets : (B,) class numbers. layer : where class activation maps are read.
    """

    model: Model
    x: Tensor
    targets: Tensor
    layer: str

    def score(self, logits: Tensor) -> Tensor:
        """Return the target logit of every picture, (B,)."""
        return logits.gather(1, self.targets[:, None])[:, 0]

    def at_layer(self) -> tuple[Tensor, Tensor]:
        """Return the layer's activations and the gradient of the target logit there, both (B, units, h, w).

        The backward pass ends at the layer.
        """
        captured = tap.leaf(self.model, self.x, [self.layer])
        activation = captured.activations[self.layer]
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.score(captured.logits()).sum(), activation)
        return activation.detach(), gradient


Method = Callable[..., Tensor]
methods: Registry[Method] = Registry("heatmap method", "innersight.heatmaps.methods")
