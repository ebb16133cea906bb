"""Would the overlap be as large with the masks of other images? A permutation test of every unit with every part."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

SHUFFLES = 999
SAMPLE = 256
UNITS, TOGETHER = 64, 16
LEAST_SKEW = 1e-3  # less makes no difference, and none would be divided by


def corrected(
    maps: Sequence[UInt8[Tensor, "images _units h w"]],
    masks: UInt8[Tensor, "images parts h w"],
    tested: Sequence[Bool[Tensor, "_units parts"]],
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> list[Float[Tensor, "_units parts"]]:
    """Return p-values of "maps do not go with the masks of their own image", corrected for all pairs tested.

    maps, tested : one for each layer; what is returned, too. The correction is for the pairs of all layers together.

    Statistic: the sum over cells of map times mask, which rises with the intersection over union, since shuffling masks
    among images leaves the sizes of both as they are. It is standardised by its own shuffles, and compared
    with the highest of all pairs in every shuffle: p = (1 + shuffles in which any pair is as high) / (1 +
    shuffles), single-step maxT (Westfall and Young 1993; Phipson and Smyth 2010, arXiv:1603.05766). The chance that any
    pair without a relation has p below 0.05 is at most 0.05. NaN for pairs not tested.
    """
    count = len(masks)
    rng = np.random.default_rng(seed)
    orders = torch.from_numpy(np.stack([np.arange(count), *(rng.permutation(count) for _ in range(shuffles))]))
    highest = torch.full((shuffles + 1,), -torch.inf)
    found = [torch.full(pairs.shape, torch.nan) for pairs in tested]
    for own, pairs, into in zip(maps, tested, found, strict=True):
        for units in torch.split(pairs.any(1).nonzero()[:, 0], UNITS):
            if not len(units):
                continue
            scores = _standardised(_overlaps(own[:, units], masks, orders))
            scores = scores.masked_fill(~pairs[units], -torch.inf)
            highest = torch.maximum(highest, scores.flatten(1).amax(1))
            into[units] = scores[0]
    # Scores that are equal on paper must count as equal in floating point.
    reached = [(highest[1:] >= own[..., None] - 1e-4).sum(2) for own in found]
    return [
        ((1 + count) / (1 + shuffles)).masked_fill(~pairs, torch.nan)
        for count, pairs in zip(reached, tested, strict=True)
    ]


def _overlaps(maps: Tensor, masks: Tensor, orders: Tensor) -> Float[Tensor, "orders units parts"]:
    """Return the sums of map times mask, with the masks in each of the orders."""
    flat = maps.transpose(0, 1).flatten(1).float() / 255
    parts = masks.flatten(2).permute(0, 2, 1).float() / 255
    sums = []
    for some in torch.split(orders, TOGETHER):
        shuffled = parts[some].permute(1, 2, 0, 3).reshape(flat.shape[1], -1)
        sums.append((flat @ shuffled).view(len(flat), len(some), -1).transpose(0, 1))
    return torch.cat(sums)


def _standardised(sums: Float[Tensor, "orders units parts"]) -> Float[Tensor, "orders units parts"]:
    """Return how far each sum is above the mean of its pair, as a score of about normal distribution; 0 if all agree.

    By mean, deviation and skewness (Wilson and Hilferty 1931, as for a shifted gamma distribution): units that respond
    on few images have long tails, and would otherwise be the highest in most shuffles.
    """
    spread, mean = torch.std_mean(sums.double(), dim=0, correction=0)
    steady = spread <= 1e-6 * mean.abs().clamp(min=1e-6)
    scores = ((sums - mean) / spread.masked_fill(steady, 1.0)).masked_fill(steady, 0.0)
    skew = (scores**3).mean(0).clamp(min=LEAST_SKEW)
    return (
        (6 / skew * ((1 + skew * scores / 2).clamp(min=0) ** (1 / 3) - 1) + skew / 6).masked_fill(steady, 0.0).float()
    )
