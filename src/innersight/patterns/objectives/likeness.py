"""What a layer keeps of a given image."""

import torch
from torch import Tensor

from innersight.image import Image
from innersight.patterns.objectives import Read, Rows, objectives
from innersight.quotients import cosine


@objectives.register(
    "Caricature",
    source="Olah et al. 2017, https://distill.pub/2017/feature-visualization",
    use="to see what a layer responds to in an image",
    takes="layer",
    given=Image,
    example="caricature(LAYER)",
)
def caricature(rows: Rows) -> Read:
    """Exaggerate what a layer responds to in an image: the dot product with its activations times the cosine."""
    theirs = _stacked(rows)

    def read(values: Tensor) -> Tensor:
        own = values[rows.at].float()
        dot = (own * theirs).mean((1, 2, 3))
        return dot * cosine(own.flatten(1), theirs.flatten(1)).clamp(min=0.1)

    return read


@objectives.register(
    "Inversion",
    source="Mahendran and Vedaldi 2015, arXiv:1412.0035",
    use="to see what a layer keeps of an image, and what it discards",
    takes="layer",
    given=Image,
    example="inversion(LAYER)",
)
def inversion(rows: Rows) -> Read:
    """Reconstruct an image from a layer: minus the relative squared distance to its activations there."""
    theirs = _stacked(rows)
    # Both at the size of what is to be kept: squares of small activations would be too small for float32.
    size = theirs.abs().amax((1, 2, 3), keepdim=True)
    size = size.masked_fill(size == 0, 1)
    kept = (theirs / size).square().mean((1, 2, 3))

    def read(values: Tensor) -> Tensor:
        apart = ((values[rows.at].float() - theirs) / size).square().mean((1, 2, 3))
        return -apart / kept.masked_fill(kept == 0, 1)

    return read


def _stacked(rows: Rows) -> Tensor:
    return torch.stack([reference for reference in rows.references if reference is not None]).float()
