"""Plain pixels behind a sigmoid."""

import torch

from innersight.patterns.options import Statistics
from innersight.patterns.parameterize import Parameterization, logit, parameterizations


@parameterizations.register("Pixels")
def pixels(shape: tuple[int, int, int], statistics: Statistics) -> Parameterization:
    """Every pixel for itself: rises fastest, and looks like noise."""

    def start(generator: torch.Generator) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    return Parameterization(start, torch.sigmoid, logit, 0.05)
