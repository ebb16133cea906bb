"""A blurred copy of the image."""

import torch
from torch import Tensor

from innersight.heatmaps.blur import blurred
from innersight.trust.replacements import Fill, laid_over, replacements


@replacements.register("Blur")
def blur(x: Tensor, stream: torch.Generator) -> Fill:
    """Blur: a Gaussian with a standard deviation of a sixteenth of the shorter side."""
    del stream
    return laid_over(x, blurred(x[None])[0])
