"""Which pictures are nearly the same: 64 bits that small changes of a picture hardly touch."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

SIDE, KEPT = 32, 8
# Bits of 64 that may differ between near-duplicates. Of 1.1 million pairs of cartoon frames all those up to 8 were of
# one scene, at 10 the first were not. A frame stored anew differs in at most 4 bits; cropped by 2%, 95% in up to 8.
NEAR = 8
NO_LIKENESS = 0  # of a picture without structure, which is like no other
FLAT = 1e-3  # of the range of pixels: contrast below which a picture has no structure


def likeness(pixels: Float[Tensor, "B C H W"]) -> Int[Tensor, " B"]:
    """Return a perceptual hash of pixels in 0..1: the signs of 64 low frequencies about their median.

    The discrete cosine transform of the grey picture at 32x32 pixels (pHash; Zauner 2010, section 3.2.1).
    """
    grey = F.adaptive_avg_pool2d(pixels.float().mean(1, keepdim=True), SIDE)[:, 0]
    step = torch.arange(SIDE, dtype=torch.float32, device=grey.device)
    waves = torch.cos(math.pi / SIDE * (step[None] + 0.5) * step[:KEPT, None])
    low = (waves @ grey @ waves.T).flatten(1)
    bits = low > low.median(1, keepdim=True).values
    weights = torch.ones(64, dtype=torch.int64, device=grey.device) << torch.arange(64, device=grey.device)
    found: Tensor = (bits * weights).sum(1)
    return found.masked_fill(grey.flatten(1).std(1) < FLAT, NO_LIKENESS)


def alike(first: int, second: int) -> bool:
    """Say whether two hashes are those of near-duplicates."""
    mask = (1 << 64) - 1
    return NO_LIKENESS not in (first, second) and ((first ^ second) & mask).bit_count() <= NEAR


def groups(hashes: Sequence[int]) -> list[int]:
    """Return for each hash the position of the first one it is a near-duplicate of; its own where there is none.

    >>> groups([0b1111, 0b1110, 1 << 63 | 0xFFFFFF])
    [0, 0, 2]
    """
    found: list[int] = []
    for i, own in enumerate(hashes):
        found.append(next((j for j in range(i) if found[j] == j and alike(own, hashes[j])), i))
    return found
