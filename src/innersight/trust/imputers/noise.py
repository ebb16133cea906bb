"""Noise in the image's colours."""

import torch
from torch import Tensor

from innersight.trust.imputers import Fill, imputers, laid_over


@imputers.register("Noise")
def noise(x: Tensor, stream: torch.Generator) -> Fill:
    """Independent normal noise with the mean and standard deviation of each channel of the image."""
    drawn = torch.randn(x.shape, generator=stream).to(x)
    return laid_over(x, x.mean((1, 2), keepdim=True) + drawn * x.std((1, 2), keepdim=True))
