"""Plain pixels behind a sigmoid."""

import torch

from innersight.patterns.options import Statistics
from innersight.patterns.parameterize import Parameterization, logit, parameterizations


@parameterizations.register(
    "Pixels",
    source="Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network",
    use="to see how far a response can rise: fast, and the image looks like noise",
)
def pixels(shape: tuple[int, int, int], statistics: Statistics, contrast: float = 0) -> Parameterization:
    """Write an image as the logits of its pixels, each free of the others."""

    def start(generator: torch.Generator) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    return Parameterization(start, torch.sigmoid, logit, 0.05)
