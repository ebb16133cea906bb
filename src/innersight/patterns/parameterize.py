"""How a picture is written as free numbers: plain pixels, or Fourier coefficients with decorrelated colours."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError, nearest

# Colours of natural pictures vary most along brightness, then red against blue, then green against both: the axes and
# their order are those of Ohta, Kanade and Sakai 1980 (Computer Graphics and Image Processing 13, 222-241).
_OHTA = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, 0.0, -1 / 2), (-1 / 4, 1 / 2, -1 / 4))
_SPREAD = (1.0, 0.45, 0.25)
GAIN = 0.25  # a tenth of a logit per step at the lowest frequency: bright after 100 steps, not saturated


@dataclass(frozen=True)
class Parameterization:
    """Give the free numbers of one picture (`start`), map a batch of them to pixels (`decode`), learn at `rate`."""

    start: Callable[[torch.Generator, tuple[int, int, int]], Tensor]
    decode: Callable[[Tensor, tuple[int, int, int]], Tensor]
    rate: float


def parameterizations() -> dict[str, Parameterization]:
    """Return the parameterizations by name."""
    return {
        "fourier": Parameterization(_fourier_start, _fourier_decode, 0.05),
        "pixels": Parameterization(_pixels_start, _pixels_decode, 0.05),
    }


def parameterization(name: str) -> Parameterization:
    """Return one by name. Raises InnersightError for an unknown one."""
    known = parameterizations()
    if name not in known:
        raise InnersightError(f"no parameterization {name!r}; {nearest(name, known)}")
    return known[name]


def _pixels_start(generator: torch.Generator, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(shape, generator=generator) * 0.1


def _pixels_decode(free: Tensor, shape: tuple[int, int, int]) -> Float[Tensor, "B C H W"]:
    return torch.sigmoid(free)


def _fourier_start(generator: torch.Generator, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    return torch.randn((channels, height, width // 2 + 1, 2), generator=generator) * 0.02


def _fourier_decode(free: Tensor, shape: tuple[int, int, int]) -> Float[Tensor, "B C H W"]:
    """Scale each frequency by 1/f, as in natural pictures (Olah et al. 2017), and mix the colour axes."""
    channels, height, width = shape
    fy = torch.fft.fftfreq(height, device=free.device)[:, None]
    fx = torch.fft.rfftfreq(width, device=free.device)[None]
    frequency = (fy * fy + fx * fx).sqrt().clamp(min=1.0 / max(height, width))
    scale = (height * width) ** 0.5 / frequency
    plane = torch.fft.irfft2(torch.view_as_complex(free * scale[..., None]), s=(height, width)) * GAIN
    if channels == 3:
        plane = torch.einsum("bchw,cd->bdhw", plane, _colour_axes(free))
    return torch.sigmoid(plane)


def _colour_axes(like: Tensor) -> Tensor:
    axes: Tensor = torch.tensor(_OHTA, device=like.device, dtype=like.dtype)
    axes = axes / axes.norm(dim=1, keepdim=True) * torch.tensor(_SPREAD, device=like.device, dtype=like.dtype)[:, None]
    return axes * math.sqrt(3)
