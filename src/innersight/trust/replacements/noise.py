"""Noise in the image's colours."""

import torch
from torch import Tensor

from innersight.trust.replacements import Fill, laid_over, replacements


@replacements.register("Noise")
def noise(x: Tensor, stream: torch.Generator) -> Fill:
    """Noise: independent normal values with the mean and the spread of each colour of the image."""
    drawn = torch.randn(x.shape, generator=stream).to(x)
    return laid_over(x, x.mean((1, 2), keepdim=True) + drawn * x.std((1, 2), keepdim=True))
