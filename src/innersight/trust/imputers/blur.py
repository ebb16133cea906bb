"""A blurred copy of the image."""

import torch
from torch import Tensor

from innersight.heatmaps.blur import blurred
from innersight.trust.imputers import Fill, imputers, laid_over


@imputers.register("Blur")
def blur(x: Tensor, stream: torch.Generator) -> Fill:
    """A Gaussian blur of the image, with a standard deviation of a sixteenth of the shorter side."""
    del stream
    return laid_over(x, blurred(x[None])[0])
