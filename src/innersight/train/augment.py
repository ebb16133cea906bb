"""Augmentation of whole batches of images on their device: geometry and colour."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed; every image of a batch draws its own values.

    flip : probability of mirroring left and right.
    zoom : factor of the shown window's side, from 1 - zoom to 1 + zoom.
    aspect : the window is up to this share wider or narrower.
    shift : share of a side. rotate : degrees, to both sides.
    brightness, contrast, saturation : factors from 1 - value to 1 + value.
    """

    flip: float = 0.5
    zoom: float = 0.1
    aspect: float = 0.1
    shift: float = 0.06
    rotate: float = 6.0
    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.15


def augment(pixels: Tensor, generator: torch.Generator, settings: Augmentation | None = None) -> Tensor:
    """Return changed copies of images.

    pixels : (B, C, H, W) float, 0..1, any device. Returned in the same form, still in 0..1.
    generator : on the CPU whatever the device of the pixels, so that the drawn values do not depend on it.
    Beyond its edges the image is mirrored.
    """
    how = settings or Augmentation()
    pixels = _move(pixels, generator, how)
    return _recolour(pixels, generator, how)


def _move(pixels: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    batch, _, height, width = pixels.shape
    draw = torch.rand((6, batch), generator=generator)
    spread = draw * 2 - 1
    mirror = torch.where(draw[0] < how.flip, -1.0, 1.0)
    scale, stretch = 1 + how.zoom * spread[1], (how.aspect * spread[2]).exp().sqrt()
    angle = math.radians(how.rotate) * spread[3]
    cos, sin = angle.cos(), angle.sin()
    # Rows give the source place in -1..1 of a target place; the sides' ratio keeps a turn a turn when H != W.
    theta = torch.stack(
        [
            torch.stack(
                [mirror * scale * stretch * cos, -scale * sin * (height / width), 2 * how.shift * spread[4]], 1
            ),
            torch.stack([mirror * scale * sin * (width / height), scale / stretch * cos, 2 * how.shift * spread[5]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta.to(pixels), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolour(pixels: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    spread = (torch.rand((3, len(pixels), 1, 1, 1), generator=generator) * 2 - 1).to(pixels)
    grey = pixels.mean(1, keepdim=True)
    pixels = torch.lerp(grey, pixels, 1 + how.saturation * spread[0])
    mean = grey.mean((2, 3), keepdim=True)
    # contrast around the mean, then brightness: (p - m) * c + m, times b
    contrast, brightness = 1 + how.contrast * spread[1], 1 + how.brightness * spread[2]
    return torch.addcmul(mean * (1 - contrast) * brightness, pixels, contrast * brightness).clamp_(0, 1)
