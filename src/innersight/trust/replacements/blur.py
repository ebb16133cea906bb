"""A blurred copy of the picture."""

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.trust.replacements import Fill, laid_over, replacements


@replacements.register
def blur(x: Tensor, stream: torch.Generator) -> Fill:
    """Blur: a Gaussian with a standard deviation of a sixteenth of the shorter side."""
    del stream
    return laid_over(x, blurred(x))


def blurred(x: Tensor) -> Tensor:
    """Return a picture (C, H, W) blurred, its edges mirrored."""
    sigma = min(x.shape[1:]) / 16
    for dim, side in ((1, x.shape[1]), (2, x.shape[2])):
        reach = min(side - 1, round(3 * sigma))
        at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        weight = torch.exp(-((at / sigma) ** 2) / 2)
        shape, pad = ((1, 1, -1, 1), (0, 0, reach, reach)) if dim == 1 else ((1, 1, 1, -1), (reach, reach, 0, 0))
        x = F.conv2d(F.pad(x[:, None], pad, mode="reflect"), (weight / weight.sum()).view(shape))[:, 0]
    return x
