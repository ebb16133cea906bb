"""Images that are copies of each other, or nearly so."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from innersight.scan.perceptual_hash import near
from innersight.train.split import groups_of

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
    contents = [[digest] if digest else [] for digest in digests]
    for i, j in pairs(hashes, hashes):
        if i < j:
            # What two images have in common makes them the same.
            contents[i].append(f"{i} and {j}")
            contents[j].append(f"{i} and {j}")
    found: list[int] = groups_of(contents).tolist()
    return found
