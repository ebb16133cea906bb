"""Fourier coefficients of decorrelated colours."""

import torch
from torch import Tensor

from innersight.patterns.options import Statistics
from innersight.patterns.parameterize import Parameterization, frequencies, logit, parameterizations

START = 0.2  # contrast of the random image, where 1 is that of natural images


@parameterizations.register(
    "Fourier coefficients",
    source="Olah et al. 2017, https://distill.pub/2017/feature-visualization",
    use="by default: natural colours, and large structure as easily as fine grain",
)
def fourier(shape: tuple[int, int, int], statistics: Statistics, contrast: float = 0) -> Parameterization:
    """Write an image as Fourier coefficients, weighted as in natural images, of decorrelated colours."""
    space = Space(shape, statistics, contrast)
    channels, height, width = shape

    def start(generator: torch.Generator) -> Tensor:
        return torch.randn((channels, height, width // 2 + 1, 2), generator=generator) * START

    def decode(free: Tensor) -> Tensor:
        return space.pixels(torch.view_as_complex(free.contiguous()))

    def encode(pixels: Tensor) -> Tensor:
        return torch.view_as_real(space.coefficients(pixels))

    return Parameterization(start, decode, encode, 0.3)


class Space:
    """Between pixels and Fourier coefficients that are all about 1 in a natural image.

    Pixels are the sigmoid of planes, so that none leaves 0..1: 4 logits are one unit of brightness around grey. Planes
    of more than `contrast` (root mean square, 1 in a natural image) are scaled down to it; 0 for no bound.
    """

    def __init__(self, shape: tuple[int, int, int], statistics: Statistics, contrast: float = 0) -> None:
        self.contrast = contrast
        _, self.height, self.width = shape
        grid = frequencies(self.height, self.width)
        lowest = 1 / max(self.height, self.width)
        slopes = torch.tensor(statistics.slopes)[:, None, None]
        scale = grid.clamp(min=lowest) ** -slopes
        # So that coefficients of variance 1 make planes of variance 1; most stand for two, themselves and their mirror.
        twice = torch.full_like(grid, 2.0)
        twice[:, 0] = 1
        twice[:, grid.shape[1] - 1] = 1 if self.width % 2 == 0 else 2
        power = (scale.square() * twice * 2).sum((1, 2), keepdim=True) / (self.height * self.width)
        self.scale = scale / power.sqrt()
        self.axes = 4 * torch.tensor(statistics.axes)
        self.mean = torch.tensor(statistics.mean).clamp(0.02, 0.98).logit()

    def to(self, device: torch.device) -> None:
        """Move the constants where the free numbers are."""
        if self.scale.device != device:
            self.scale, self.axes, self.mean = (t.to(device) for t in (self.scale, self.axes, self.mean))

    def pixels(self, coefficients: Tensor) -> Tensor:
        """(B, C, H, F) complex to (B, C, H, W) pixels in 0..1."""
        self.to(coefficients.device)
        planes = torch.fft.irfft2(coefficients * self.scale, s=(self.height, self.width), norm="ortho")
        if self.contrast:
            found = planes.square().mean((1, 2, 3), keepdim=True).sqrt()
            planes = planes * (self.contrast / found.clamp(min=self.contrast))
        mixed = torch.einsum("bchw,cd->bdhw", planes, self.axes)
        return torch.sigmoid(mixed + self.mean[:, None, None])

    def coefficients(self, pixels: Tensor) -> Tensor:
        """(C, H, W) pixels in 0..1 to (C, H, F) complex."""
        self.to(pixels.device)
        mixed = logit(pixels) - self.mean[:, None, None]
        planes = torch.einsum("dhw,dc->chw", mixed, torch.linalg.inv(self.axes))
        coefficients: Tensor = torch.fft.rfft2(planes, norm="ortho") / self.scale
        return coefficients
