"""The grid pointing game: does a heatmap find the one image of four that shows the class (Rao et al. 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.trust.case import widened
from innersight.trust.ground_truth import Sample, Scores, ground_truth
from innersight.trust.metrics.boxes import positive_inside
from innersight.trust.request import TrustRequest

SURE = 0.5
COUNT = 24


@ground_truth.register(
    "mass in mosaic",
    source="Böhle et al. 2021, arXiv:2104.00032; Rao et al. 2022, arXiv:2205.10435",
    against="chance in the mosaics",
    made=lambda request, images: min(images, COUNT),
)
def mosaic(request: TrustRequest, sample: Sample) -> Scores | None:
    """Share of the positive values that lies on the class's own images in a mosaic.

    The grid pointing game. None where fewer
    than two classes are predicted with a probability of a half or more.
    """
    made = mosaics(sample.x, sample.probabilities, COUNT, request.seed)
    if made is None:
        return None
    size = request.model.input.height, request.model.input.width
    found = [
        (positive_inside(widened(maps, size), made.regions[i]), probability)
        for i, maps, probability in request.explain_made(made.x, made.targets)
    ]
    mean = sum(probability for _, probability in found) / len(found)
    note = f"Mosaics: the network gives the class a mean probability of {mean:.2f} there."
    return Scores(torch.stack([values for values, _ in found]), made.regions.double().mean((1, 2)), note)


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Images of several classes side by side.

    x : (n, C, H, W) network input. targets : (n,) the class explained in each, no image twice.
    regions : (n, H, W) bool, where its images are.
    """

    x: Tensor
    targets: Tensor
    regions: Tensor


def mosaics(
    x: Float[Tensor, "N C H W"], probabilities: Float[Tensor, "N classes"], count: int, seed: int
) -> Mosaics | None:
    """Return mosaics of two by two images of different classes, one of which is explained.

    Only images that the network gives a class with a probability of at least a half; no labels are needed. x :
    network input. count : at most so many, one for each image. Of two or three classes, two are laid in
    the diagonals. None for fewer, or inputs below 4 pixels.
    """
    sure, predicted = probabilities.max(1)
    groups: Mapping[int, list[int]] = {
        int(c): [i for i in range(len(x)) if int(predicted[i]) == int(c) and float(sure[i]) >= SURE]
        for c in sorted(set(predicted.tolist()))
    }
    classes = [c for c, members in groups.items() if members]
    height, width = x.shape[2:]
    if len(classes) < 2 or min(height, width) < 4:
        return None
    rng = np.random.default_rng(seed)
    made, targets, regions = [], [], []
    # Each image is explained once: mosaics of the same image would be no independent trials.
    for number in rng.permutation([i for members in groups.values() for i in members])[:count]:
        own, four = int(predicted[number]), len(classes) >= 4
        others = [int(c) for c in rng.choice([c for c in classes if c != own], 3 if four else 1, replace=False)]
        chosen = [int(c) for c in rng.permutation([own, *others])]
        cells = chosen if four else [chosen[0], chosen[1], chosen[1], chosen[0]]
        tiles = [x[int(number if c == own else rng.choice(groups[c]))] for c in cells]
        made.append(_laid(tiles, height, width))
        regions.append(_where([c == own for c in cells], height, width))
        targets.append(own)
    return Mosaics(torch.stack(made), torch.tensor(targets), torch.stack(regions))


def _laid(tiles: list[Tensor], height: int, width: int) -> Float[Tensor, "C H W"]:
    rows, columns = (height // 2, height - height // 2), (width // 2, width - width // 2)
    small = [
        F.interpolate(tile[None], (rows[i // 2], columns[i % 2]), mode="bilinear", antialias=True)[0]
        for i, tile in enumerate(tiles)
    ]
    return torch.cat([torch.cat(small[:2], 2), torch.cat(small[2:], 2)], 1)


def _where(cells: list[bool], height: int, width: int) -> Bool[Tensor, "H W"]:
    found = torch.zeros(height, width, dtype=torch.bool)
    for i, inside in enumerate(cells):
        if inside:
            found[(height // 2 if i > 1 else 0) : (None if i > 1 else height // 2),
                  (width // 2 if i % 2 else 0) : (None if i % 2 else width // 2)] = True  # fmt: skip
    return found
