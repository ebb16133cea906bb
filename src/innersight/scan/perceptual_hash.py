"""Near-duplicates: a perceptual hash of 64 bits that small changes of an image hardly affect."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

SIDE, KEPT = 32, 8
# Bits of 64 that may differ between near-duplicates. Of 1.1 million pairs of cartoon frames all those up to 8 were of
# one scene, at 10 the first were not. A frame stored anew differs in at most 4 bits; cropped by 2%, 95% in up to 8.
NEAR = 8
NO_HASH = 0  # of an image without structure, which is like no other
CHUNK = 1 << 20  # pairs compared in one go
FLAT = 1e-3  # of the range of pixels: contrast below which an image has no structure


def perceptual_hash(pixels: Float[Tensor, "B C H W"]) -> Int[Tensor, " B"]:
    """Return a perceptual hash of pixels in 0..1: the signs of 64 low frequencies about their median.

    The discrete cosine transform of the grey image at 32x32 pixels (pHash; Zauner 2010, section 3.2.1).
    """
    grey = F.adaptive_avg_pool2d(pixels.float().mean(1, keepdim=True), SIDE)[:, 0]
    step = torch.arange(SIDE, dtype=torch.float32, device=grey.device)
    waves = torch.cos(math.pi / SIDE * (step[None] + 0.5) * step[:KEPT, None])
    low = (waves @ grey @ waves.T).flatten(1)
    bits = low > low.median(1, keepdim=True).values
    weights = torch.ones(64, dtype=torch.int64, device=grey.device) << torch.arange(64, device=grey.device)
    found: Tensor = (bits * weights).sum(1)
    return found.masked_fill(grey.flatten(1).std(1) < FLAT, NO_HASH)


def near_duplicates(first: int, second: int) -> bool:
    """Return whether two hashes are those of near-duplicates."""
    mask = (1 << 64) - 1
    return NO_HASH not in (first, second) and ((first ^ second) & mask).bit_count() <= NEAR


def distinct(hashes: Int[Tensor, "rows n"], limit: int) -> Int[Tensor, "rows n"]:
    """Return in each row the positions of the images kept, in order, and then -1 for every one that is not.

    The first image leads a group, and so does each that is no near-duplicate of an earlier leader; the others belong to
    the first leader they are near-duplicates of. Of every group the first `limit` images are kept.

    >>> distinct(torch.tensor([[0b1111, 0b1110, 1 << 40 | 0xFFFFFF]]), 1)
    tensor([[ 0,  2, -1]])
    """
    step = max(1, CHUNK // hashes.shape[1] ** 2)
    stays = torch.cat([_staying(near(part, part), limit) for part in torch.split(hashes, step)])
    first = (~stays).int().sort(dim=1, stable=True)
    return first.indices.masked_fill(first.values.bool(), -1)


def near(first: Int[Tensor, "rows n"], second: Int[Tensor, "rows m"]) -> Bool[Tensor, "rows n m"]:
    """Return which images of a row are near-duplicates of which others."""
    one, two = first[:, :, None], second[:, None, :]
    return (_differing(one ^ two) <= NEAR) & (one != NO_HASH) & (two != NO_HASH)


def repeats(hashes: Int[Tensor, " B"], before: Int[Tensor, " n"]) -> Bool[Tensor, " B"]:
    """Return which images are near-duplicates of one before them, in the batch or among those `before` it.

    >>> repeats(torch.tensor([1, 1 << 40 | 0xFFFFFF, 3]), torch.tensor([0b111 << 50]))
    tensor([ True, False,  True])
    """
    known = torch.cat([before, hashes])
    return near(hashes[None], known[None])[0].tril(len(before) - 1).any(1)


def beside(rows: Int[Tensor, " n"], hashes: Int[Tensor, " n"], old: Int[Tensor, "m kept"]) -> Bool[Tensor, " m"]:
    """Return which of m rows get a near-duplicate of an old image. rows : of each new image, with its hash."""
    found = torch.zeros(len(old), dtype=torch.bool, device=old.device)
    for row, new in zip(*(torch.split(part, max(1, CHUNK // old.shape[1])) for part in (rows, hashes)), strict=True):
        found[row[near(new[:, None], old[row])[:, 0].any(1)]] = True
    return found


def together(
    rows: Int[Tensor, " n"], images: Int[Tensor, " n"], hashes: Int[Tensor, " n"], count: int
) -> Bool[Tensor, " count"]:
    """Return which of `count` rows may get several new images that are near-duplicates of each other.

    Never false where they do. rows, images : of each new entry the row it comes into, and the image's number.
    """
    numbers, index = torch.unique(images, return_inverse=True)
    own = torch.empty_like(numbers)
    own[index] = hashes
    close = near(own[None], own[None])[0].fill_diagonal_(False).any(1)
    return torch.bincount(rows[close[index]], minlength=count) > 1


def _differing(bits: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Return how many bits are set of each (Warren 2012, Hacker's Delight, section 5-1)."""
    bits = bits - ((bits >> 1) & 0x5555555555555555)
    bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (bits * 0x0101010101010101) >> 56


def copies(own: np.ndarray, all_: np.ndarray) -> np.ndarray:
    """Return how many of the hashes `all_` are near-duplicates of each of `own`, itself included; int64 both."""
    found = np.zeros(len(own), np.int64)
    step = max(1, CHUNK // max(1, len(own)))
    for start in range(0, len(all_), step):
        part = all_[start : start + step]
        # Of signed numbers the bits of the absolute value would be counted.
        close = np.bitwise_count((own[:, None] ^ part[None]).view(np.uint64)) <= NEAR
        found += (close & (part != NO_HASH)[None]).sum(1)
    return np.where(own == NO_HASH, 1, found)


def _staying(near_: Tensor, limit: int) -> Tensor:
    rows, n, _ = near_.shape
    every = torch.arange(rows, device=near_.device)
    leads, stays = (torch.zeros(rows, n, dtype=torch.bool, device=near_.device) for _ in range(2))
    size = torch.zeros(rows, n, dtype=torch.int64, device=near_.device)
    for i in range(n):
        like = near_[:, i] & leads
        leads[:, i] = ~like.any(1)
        group = torch.where(leads[:, i], i, like.int().argmax(1))
        stays[:, i] = size[every, group] < limit
        size[every, group] += 1
    return stays


class Duplicates:
    """Counts near-duplicates among the images of a scan, once of each. read : returns the hashes of all, int64."""

    def __init__(self, read: Callable[[], np.ndarray]) -> None:
        self._read = read
        self._counted: dict[int, int] = {}

    @cached_property
    def _hashes(self) -> np.ndarray:
        return self._read()

    def count(self, images: Mapping[int, int]) -> dict[int, int]:
        """Return how many other images are near-duplicates of each, by its number. images : hashes by number."""
        new = {number: hash_ for number, hash_ in images.items() if number not in self._counted}
        if new:
            own = np.array(list(new.values()), np.int64)
            self._counted.update(zip(new, (copies(own, self._hashes) - 1).tolist(), strict=True))
        return {number: self._counted[number] for number in images}
