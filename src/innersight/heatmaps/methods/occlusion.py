"""Occlusion."""

from collections.abc import Generator

import torch
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.request import MethodOutput, Trial, methods

AT_ONCE = 32


@methods.register(
    "Occlusion",
    source="Zeiler and Fergus 2014, arXiv:1311.2901",
    use="For values that are easy to explain: the change when a square is hidden; misses objects larger than it.",
    unit="TARGET",
    reads="masks",
    passes=145,
)
def occlusion(trial: Trial, *, patch: float = 0.16, stride: float = 0.08) -> Generator[Tensor, Tensor, MethodOutput]:
    """What the target loses when a grey square covers a location.

    Each pixel has the mean of the squares that cover it.

    Parameters
    ----------
    trial
        The image.
    patch
        Side of the square, as a share of the image's, above 0 and at most 1.
    stride
        Its step, as a share of the image's side, at most `patch`.

    """
    if not (0 < stride <= patch <= 1):
        raise InnersightError(f"patch={patch}, stride={stride}: shares of the side, the stride at most the patch")
    whole = (yield torch.ones(1, *trial.size))[0]
    spans = [_spans(side, patch, stride) for side in trial.size]
    squares = [(rows, columns) for rows in spans[0] for columns in spans[1]]
    drops = []
    for i in range(0, len(squares), AT_ONCE):
        part = squares[i : i + AT_ONCE]
        masks = torch.ones(len(part), *trial.size)
        for mask, square in zip(masks, part, strict=True):
            mask[square] = 0
        drops.append(whole - (yield masks))
    lost, covered = torch.zeros(trial.size), torch.zeros(trial.size)
    # All at once, as each time the host reads a value it waits for the device.
    for square, drop in zip(squares, torch.cat(drops).tolist(), strict=True):
        lost[square] += drop
        covered[square] += 1
    return MethodOutput((lost / covered)[None])


def _spans(side: int, patch: float, stride: float) -> list[slice]:
    """Return where squares begin and end along one side; the last ends at the edge."""
    size, step = max(1, round(patch * side)), max(1, round(stride * side))
    starts = [*range(0, side - size, step), side - size]
    return [slice(start, start + size) for start in starts]
