"""Small random views of an image, a separate random stream for each image of the batch."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.patterns.options import Views


def draw(views: Views, generator: torch.Generator, steps: int) -> Float[Tensor, "steps 4"]:
    """Return (shift x, shift y, zoom, rotation) for every step of one image; shifts in half sides."""
    uniform = torch.rand((steps, 4), generator=generator) * 2 - 1
    reach = torch.tensor([2 * views.shift, 2 * views.shift, views.zoom, math.radians(views.rotate)])
    draws = uniform * reach + torch.tensor([0.0, 0.0, 1.0, 0.0])
    if views.crop < 1:
        # A part of the image seen at full size: zoomed in, its middle anywhere where it still fits.
        side, where = torch.rand((steps, 1), generator=generator), torch.rand((steps, 2), generator=generator)
        side = views.crop + (1 - views.crop) * side
        draws[:, 2:3] /= side
        draws[:, :2] += (2 * where - 1) * (1 - side)
    return draws


@dataclass(frozen=True)
class Window:
    """The part of an image that is fed to the network: top, left, height, width in pixels.

    roams : it lies elsewhere at every update, anywhere in the image, and begins where it says only at the first.
    """

    top: int
    left: int
    height: int
    width: int
    roams: bool = False

    @property
    def kind(self) -> tuple[int, int, bool]:
        """What images that share a batch have in common."""
        return self.height, self.width, self.roams


def view(
    pixels: Float[Tensor, "B C H W"],
    draws: Float[Tensor, "B 4"],
    windows: Float[Tensor, "B 4"] | None = None,
    size: tuple[int, int] | None = None,
    *,
    pad: str = "reflection",
) -> Float[Tensor, "B C h w"]:
    """Return every image seen under its own draw, or of it a window of `size`.

    windows : (height, width, middle y, middle x) of each window, as fractions of the image and of its half sides.
    """
    dx, dy, zoom, rotation = draws.unbind(1)
    aspect = pixels.shape[2] / pixels.shape[3]
    cos, sin = rotation.cos() / zoom, rotation.sin() / zoom
    matrix = torch.stack([cos, -sin * aspect, dx, sin / aspect, cos, dy], 1).view(-1, 2, 3)
    if windows is not None:
        height, width, middle_y, middle_x = windows.unbind(1)
        zero, one = torch.zeros_like(height), torch.ones_like(height)
        inner = torch.stack([width, zero, middle_x, zero, height, middle_y, zero, zero, one], 1).view(-1, 3, 3)
        matrix = matrix @ inner
    shape = [*pixels.shape[:2], *(size or pixels.shape[2:])]
    grid = F.affine_grid(matrix.to(pixels), shape, align_corners=False)
    if pad == "zeros":
        return F.grid_sample(pixels - 0.5, grid, padding_mode=pad, align_corners=False) + 0.5
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=pad, align_corners=False)
