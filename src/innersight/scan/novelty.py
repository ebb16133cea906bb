"""How far images are from those of a scan: by the neighbours of their features (Sun et al. 2022, arXiv:2204.06507)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.activations import compute
from innersight.image import Image, stack
from innersight.model import Model
from innersight.quotients import normalised
from innersight.scan.features import Features

NEIGHBOURS = 5
LEAST = 100
"""With fewer images in the sample, none can be farther than 99% of them are from each other."""
NOVEL = 0.99
AT_ONCE = 256
SAME = 1e-5
"""Of a distance between vectors of length 1: below it stands the same image."""


@dataclass(frozen=True)
class Novelty:
    """How an image stands to the images of a scan.

    distance : to its fifth nearest neighbour among them, 0 to 2, between features of length 1. share : of the scanned
    images that are nearer to their own fifth nearest neighbour. nearest : numbers of its neighbours, the nearest first.
    novel : whether it is farther than 99% of the scanned images are from each other.
    """

    distance: float
    share: float
    nearest: tuple[int, ...]

    @property
    def novel(self) -> bool:
        """Whether it is farther than 99% of the scanned images are from each other."""
        return self.share >= NOVEL


def novelties(model: Model, images: tuple[Image, ...], features: Features) -> list[Novelty | None]:
    """Return how each image stands to the sample of a scan's images; None where nothing can be said, see `stand`.

    Features are the means over the locations of the layer that the scan sampled, divided by their length. The scanned
    images are measured as these are, each against all others. Needs `LEAST` images in the sample.
    """
    x = stack(list(images), model.input)
    maps = compute(model, x, [features.layer])[features.layer]
    return stand(features, maps.mean((2, 3)))


def stand(features: Features, values: Float[Tensor, "n units"]) -> list[Novelty | None]:
    """Return the same for the means over locations of images.

    None for an image without finite features, and where fewer than `NEIGHBOURS` images of the sample, or of those
    around one of them, are different ones.
    """
    known, own = normalised(features.values, 1), normalised(values, 1)
    usual = _usual(known)
    apart = bool(usual.isfinite().all())
    found: list[Novelty | None] = []
    for row, finite in zip(own, values.isfinite().all(1).tolist(), strict=True):
        far = (known - row).norm(dim=1)
        # The image itself, where it was scanned, is no neighbour.
        far = far.masked_fill(far < SAME, torch.inf)
        nearest, at = far.topk(NEIGHBOURS, largest=False)
        if not (apart and finite and bool(nearest[-1].isfinite())):
            found.append(None)
            continue
        share = float((usual < nearest[-1]).double().mean())
        found.append(Novelty(float(nearest[-1]), share, tuple(features.numbers[at].tolist())))
    return found


def _usual(known: Float[Tensor, "n units"]) -> Float[Tensor, " n"]:
    """Return the distance of every scanned image to its fifth nearest neighbour among the others."""
    found = []
    for part in torch.split(known, AT_ONCE):
        far = torch.cdist(part, known, compute_mode="donot_use_mm_for_euclid_dist")
        far = far.masked_fill(far < SAME, torch.inf)
        found.append(far.topk(NEIGHBOURS, dim=1, largest=False).values[:, -1])
    return torch.cat(found)
