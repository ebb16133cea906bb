"""Images that are copies of each other, or nearly so."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from innersight.scan.perceptual_hash import near

CHUNK = 512


def pairs(first: Int[Tensor, " n"], second: Int[Tensor, " m"]) -> list[tuple[int, int]]:
    """Return which hashes of `first` are those of near-duplicates of which of `second`."""
    found = []
    for start in range(0, len(first), CHUNK):
        close = near(first[None, start : start + CHUNK], second[None])[0].nonzero()
        found += [(start + int(i), int(j)) for i, j in close.tolist()]
    return found


def groups(hashes: Int[Tensor, " n"], digests: Sequence[str]) -> list[int]:
    """Return for each image the number of the first image of its group of copies and near-duplicates."""
    leader = list(range(len(hashes)))

    def root(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    seen: dict[str, int] = {}
    for i, digest in enumerate(digests):
        if digest:
            leader[root(i)] = root(seen.setdefault(digest, i))
    for i, j in pairs(hashes, hashes):
        if i < j:
            low, high = sorted((root(i), root(j)))
            leader[high] = low
    return [root(i) for i in range(len(leader))]
