"""Phases only: the magnitudes are those of natural images."""

import math

import torch
from torch import Tensor

from innersight.patterns.options import Statistics
from innersight.patterns.parameterize import Parameterization, parameterizations
from innersight.patterns.parameterize.fourier import Space


@parameterizations.register("Phase alone (MACO)")
def maco(shape: tuple[int, int, int], statistics: Statistics) -> Parameterization:
    """Magnitude-constrained optimization: natural contrast at every frequency, only the phases are found.

    Fel et al. 2023 (arXiv:2306.06805). Here the magnitudes follow the spectrum of each decorrelated colour.
    """
    space = Space(shape, statistics)
    channels, height, width = shape
    magnitude = torch.full((channels, height, width // 2 + 1), 2**0.5)
    magnitude[:, 0, 0] = 0

    def start(generator: torch.Generator) -> Tensor:
        return (torch.rand((channels, height, width // 2 + 1), generator=generator) * 2 - 1) * math.pi

    def decode(phases: Tensor) -> Tensor:
        return space.pixels(torch.polar(magnitude.to(phases.device).expand_as(phases), phases))

    def encode(pixels: Tensor) -> Tensor:
        return space.coefficients(pixels).angle()

    return Parameterization(start, decode, encode, 0.5)
