"""Phases only: the magnitudes are those of natural images."""

import math

import torch
from torch import Tensor

from innersight.patterns.options import Statistics
from innersight.patterns.parameterize import Parameterization, parameterizations
from innersight.patterns.parameterize.fourier import Space


@parameterizations.register(
    "Phases only (MACO)",
    source="Fel et al. 2023, arXiv:2306.06805",
    use="for classes and deep layers, above all of robust networks: contrast stays natural at every frequency",
)
def maco(shape: tuple[int, int, int], statistics: Statistics, contrast: float = 0) -> Parameterization:
    """Write an image as the phases of its Fourier coefficients; the magnitudes are those of natural images.

    Here the magnitudes follow the spectrum of each decorrelated colour.
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
