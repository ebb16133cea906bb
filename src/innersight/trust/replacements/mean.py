"""The image's mean colour."""

import torch
from torch import Tensor

from innersight.trust.replacements import Fill, laid_over, replacements


@replacements.register("Mean colour")
def mean(x: Tensor, stream: torch.Generator) -> Fill:
    """Mean: every removed pixel has the image's mean colour."""
    del stream
    return laid_over(x, x.mean((1, 2), keepdim=True).expand_as(x))
