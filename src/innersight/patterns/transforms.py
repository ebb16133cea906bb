"""Small random views of a picture, a separate random stream for each picture of the batch."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Views:
    """How far a view may differ: shift in fractions of the side, zoom around 1, turn in degrees."""

    shift: float = 0.06
    zoom: float = 0.08
    turn: float = 8.0

    def draw(self, generator: torch.Generator, steps: int) -> Float[Tensor, "steps 4"]:
        """Return (shift x, shift y, zoom, turn) for every step of one picture."""
        uniform = torch.rand((steps, 4), generator=generator) * 2 - 1
        reach = torch.tensor([2 * self.shift, 2 * self.shift, self.zoom, math.radians(self.turn)])
        return uniform * reach + torch.tensor([0.0, 0.0, 1.0, 0.0])


def view(pixels: Float[Tensor, "B C H W"], draws: Float[Tensor, "B 4"]) -> Float[Tensor, "B C H W"]:
    """Return every picture seen under its own draw; beyond the edge the picture is mirrored."""
    dx, dy, zoom, turn = draws.unbind(1)
    aspect = pixels.shape[2] / pixels.shape[3]
    cos, sin = turn.cos() / zoom, turn.sin() / zoom
    matrix = torch.stack([cos, -sin * aspect, dx, sin / aspect, cos, dy], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix.to(pixels), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
