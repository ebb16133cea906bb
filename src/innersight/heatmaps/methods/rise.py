"""RISE."""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heatmaps.request import MethodOutput, Trial, methods, relative_error
from innersight.quotients import quotient

AT_ONCE = 32
LEAST = 128


@methods.register(
    "RISE",
    source="Petsiuk et al. 2018, arXiv:1806.07421",
    use="For any network, even one without gradients; slow, with a standard error for each location.",
    unit="TARGET",
    reads="masks",
    passes=2048,
    quick={"max_samples": 256},
)
def rise(
    trial: Trial, *, cells: int = 7, share: float = 0.5, max_samples: int = 2048, max_error: float = 0.3
) -> Generator[Tensor, Tensor, MethodOutput]:
    """How the target changes with each pixel over random masks.

    The value of a pixel is the slope of the target on its mask, over random grids of cells, shifted and smoothed as in
    the paper: what the target gains when the pixel is visible instead of hidden, others hidden at random. The paper's
    own sum converges to the same up to a constant and a factor, with more noise.

    Parameters
    ----------
    trial
        The image.
    cells
        Cells along each side of a mask, 2 or more.
    share
        Of cells that are visible, between 0 and 1.
    max_samples
        Masks after which it ends at the latest, 2 or more.
    max_error
        It ends when the standard error is below this share of how much the map varies.

    """
    if cells < 2 or not 0 < share < 1 or max_samples < 2:
        raise InnersightError(
            f"cells={cells}, share={share}, max_samples={max_samples}: give at least 2, between 0 and 1, at least 2"
        )
    stream = trial.generator()
    height, width = trial.size
    sums = torch.zeros(3, height * width, dtype=torch.float64)
    total, square, count = 0.0, 0.0, 0
    whole = float((yield torch.ones(1, height, width))[0])
    # Masks are 0 to 1, so that what they vary by has a known size; below this it is rounding.
    least = torch.finfo(torch.float32).eps
    while True:
        masks = _masks(min(AT_ONCE, max_samples - count), cells, share, (height, width), stream)
        # Less the whole image's: large targets would drown what changes.
        values = (yield masks).cpu().double() - whole
        flat = masks.flatten(1).double()
        sums += torch.stack([flat.sum(0), flat.square().sum(0), values @ flat])
        total, square, count = total + float(values.sum()), square + float(values.square().sum()), count + len(masks)
        spread = sums[1] / count - (sums[0] / count).square()
        spread = spread.masked_fill(spread < least, 0)
        slope = quotient(sums[2] / count - sums[0] / count * (total / count), spread)
        rest = (square / count - (total / count) ** 2 - slope.square() * spread).clamp(min=0)
        errors = quotient(rest, max(1, count - 2) * spread).sqrt()
        if count >= max_samples or (count >= LEAST and relative_error(slope, errors) < max_error):
            shape = (1, height, width)
            return MethodOutput(slope.view(shape), errors.view(shape), {"masks": torch.tensor([count])})


def _masks(count: int, cells: int, share: float, size: tuple[int, int], stream: torch.Generator) -> Tensor:
    """Return (count, H, W) smooth random masks: a grid one cell larger than the image, shifted by up to a cell."""
    height, width = (-(-side // cells) for side in size)
    grids = (torch.rand((count, 1, cells + 1, cells + 1), generator=stream) < share).float()
    large = ((cells + 1) * height, (cells + 1) * width)
    wide = F.interpolate(grids, large, mode="bilinear", align_corners=False)[:, 0]
    shifts = torch.rand((count, 2), generator=stream) * torch.tensor([height, width])
    return torch.stack(
        [mask[y : y + size[0], x : x + size[1]] for mask, (y, x) in zip(wide, shifts.long().tolist(), strict=True)]
    )
