"""Cues: what a class may depend on, as something that can be given to other images and taken from its own."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight.audit.properties import Property
from innersight.trust.imputers.inpaint import imputed

Boxes = Int[Tensor, "n 4"]
# Kinds of cues of which an honest class may have a bit, so that its score rises with them.
IMPRECISE = ("evidence", "pixels", "tint")


@dataclass(frozen=True, eq=False)
class Cue:
    """Something that a class may depend on.

    label : number of the class. kind : "evidence", "pixels", "fixed pixels", or the name of a property. words : what it
    is, for sentences. images : those of the class that have it, numbers of rows. masks : where it is in each of them,
    (n, 1, H, W) from 0 to 1; of a property None. property : of the whole image. share, others : of the images of the
    class, and of other classes, that have it, as far as they were looked at. apart : the area under the ROC curve by
    which a property sets the class apart. destroys : it destroys detail.
    """

    label: int
    kind: str
    words: str
    images: Int[np.ndarray, " _"]
    masks: Float[Tensor, "n 1 H W"] | None = None
    property: Property | None = None
    share: float = 1.0
    others: float = 0.0
    apart: float = 0.0
    destroys: bool = False


def mask_of(boxes: Boxes, height: int, width: int) -> Float[Tensor, "n 1 H W"]:
    """Return masks that are 1 inside of boxes (top, left, bottom, right) in pixels."""
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None]
    top, left, bottom, right = (boxes[:, i, None, None] for i in range(4))
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right)).float()[:, None]


def pasted(
    target: Float[Tensor, "n C H W"], source: Float[Tensor, "n C H W"], mask: Float[Tensor, "n 1 H W"]
) -> Float[Tensor, "n C H W"]:
    """Return targets with a part of their sources laid over them, at the same location."""
    return torch.where(mask > 0, target * (1 - mask) + source * mask, target)


def removed(x: Float[Tensor, "n C H W"], mask: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n C H W"]:
    """Return images with a part filled in from around it; see `innersight.trust.imputers.inpaint`."""
    parts = [
        imputed(*part) for part in zip(torch.split(x, AT_ONCE), torch.split(mask[:, 0] <= 0.5, AT_ONCE), strict=True)
    ]
    return torch.cat(parts).clamp(0, 1) if parts else x


def elsewhere(mask: Float[Tensor, "n 1 H W"], rng: np.random.Generator) -> tuple[Float[Tensor, "n 1 H W"], bool]:
    """Return masks of the same shape at random other places, and whether these overlap the old ones by less than half.

    Of eight places that with the least overlap is chosen.
    """
    found = []
    height, width = mask.shape[2:]
    for one in mask[:, 0]:
        rows, columns = one.amax(1).nonzero()[:, 0], one.amax(0).nonzero()[:, 0]
        if not len(rows):
            found.append(one)
            continue
        top, left = int(rows[0]), int(columns[0])
        part = one[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        best, least = one, torch.inf
        for _ in range(TRIES):
            y = int(rng.integers(0, height - part.shape[0] + 1))
            x = int(rng.integers(0, width - part.shape[1] + 1))
            new = torch.zeros_like(one)
            new[y : y + part.shape[0], x : x + part.shape[1]] = part
            overlap = float((new * one).sum())
            if overlap < least:
                best, least = new, overlap
        found.append(best)
    other = torch.stack(found)[:, None]
    return other, bool((other * mask).sum() < 0.5 * mask.sum())


TRIES = 8
AT_ONCE = 16  # images filled in together


def region_of(mask: Float[Tensor, "1 H W"]) -> tuple[float, float, float, float] | None:
    """Return the box around a mask in fractions, x0, y0, x1, y1."""
    inside: Bool[Tensor, "H W"] = mask[0] > 0.5
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    if not len(rows):
        return None
    height, width = inside.shape
    x0, x1 = float(columns[0]) / width, float(columns[-1] + 1) / width
    return x0, float(rows[0]) / height, x1, float(rows[-1] + 1) / height
