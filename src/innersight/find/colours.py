"""Which part of a box is the object: the colours found in the box more than elsewhere in the image."""

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor

LEVELS = 16


def own_colours(seen: PILImage.Image, inside: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Return a weight for each pixel, 0 to 1: how likely it shows the object; 0 outside the box.

    `inside`, times the square of the share of its colour that lies inside; a colour is one of 16 levels in every
    channel. GrabCut starts from the colours inside and outside a box too (Rother et al. 2004,
    doi:10.1145/1015706.1015720); its graph cut finds units less well.
    """
    pixels = np.asarray(seen.convert("RGB")).astype(np.int64) * LEVELS // 256
    colour = torch.from_numpy(pixels @ np.array([LEVELS * LEVELS, LEVELS, 1])).flatten()
    within = torch.zeros(LEVELS**3, dtype=torch.float64).scatter_add_(0, colour, inside.double().flatten())
    share = within / torch.bincount(colour, minlength=LEVELS**3).clamp(min=1)
    return inside * share[colour].square().view_as(inside).float()
