"""What a score loses when the part of an image is removed that a heatmap says matters most."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.heatmaps.masked import batch_of
from innersight.image import Image, stack
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.quotients import precise
from innersight.trust.faithfulness import enlarged, ranking
from innersight.trust.imputers import imputers
from innersight.trust.likeness import Maps

SHARE = 0.2
CELLS = 14
DRAWS = 3
FILLS = ("blur", "mean")


@dataclass(frozen=True)
class Removal:
    """What the score of a class, or its lead over another, loses without a fifth of an image.

    score : of the whole image. lost : for each map, when the cells are removed where it is highest; None for a map that
    ranks nothing. elsewhere : when as many cells are removed in the same shape at other places, the mean of some. Both
    are means over two ways to fill what is removed.
    """

    score: float
    lost: tuple[float | None, ...]
    elsewhere: tuple[float | None, ...]


def removals(
    model: Model,
    image: Image,
    maps: Maps,
    target: int,
    rival: int | None = None,
    seed: int = 0,
) -> Removal:
    """Return what each map's most important fifth counts for the score of a class, less that of a rival.

    All maps remove whole cells of one grid. Scattered cells tear an image apart wherever they are, and coherent regions
    do not: each map is compared with itself, shifted around the image. See `passes`.
    """
    size = model.input.height, model.input.width
    grid = min(CELLS, size[0]), min(CELLS, size[1])
    ranked = [_highest(values, size, grid, np.random.default_rng((seed, 0))) for values in maps]
    # The same shifts for all maps, whatever others there are.
    drawn = np.random.default_rng((seed, 1))
    shifts = [[int(drawn.integers(1, side)) if side > 1 else 0 for side in grid] for _ in range(DRAWS)]
    gone = torch.stack([one.roll(shift, (0, 1)) for one, _ in ranked for shift in [[0, 0], *shifts]])
    wide = F.interpolate(gone[:, None].float(), size, mode="nearest")[:, 0] > 0
    x = stack([image], model.input)[0]
    fills = [imputers[name](x, torch.Generator().manual_seed(seed))(~wide) for name in FILLS]
    scores = _scores(model, torch.cat([x[None], *fills]), target, rival)
    lost = (scores[0] - scores[1:].view(len(FILLS), len(ranked), 1 + DRAWS)).mean(0)
    rows = [row if ranks else None for row, (_, ranks) in zip(lost.tolist(), ranked, strict=True)]
    return Removal(
        float(scores[0]),
        tuple(None if row is None else row[0] for row in rows),
        tuple(None if row is None else sum(row[1:]) / DRAWS for row in rows),
    )


def passes(maps: int) -> int:
    """Return how many passes of an image it takes to judge several maps of one question."""
    return 1 + len(FILLS) * maps * (1 + DRAWS)


def _highest(
    values: Float[Tensor, "h w"], size: tuple[int, int], grid: tuple[int, int], rng: np.random.Generator
) -> tuple[Bool[Tensor, "rows columns"], bool]:
    """Return the cells of the grid where a map is highest, and whether it ranks any."""
    finite = bool(values.isfinite().all())
    cells = F.adaptive_avg_pool2d(enlarged(values.nan_to_num(0, 0, 0), size)[None, None].double(), grid)[0, 0]
    ranks, some = ranking(cells, grid, rng)
    return ranks < max(1, round(SHARE * grid[0] * grid[1])), some and finite


def _scores(model: Model, inputs: Float[Tensor, "n C H W"], target: int, rival: int | None) -> Float[Tensor, " n"]:
    found = []
    with tap.untouched(model), torch.no_grad(), tap.fold_batchnorm():
        for part in torch.split(inputs, batch_of(model)):
            given = part.to(model.device, model.dtype, memory_format=memory_format(model))
            logits = precise(model.logits(given)).cpu()
            found.append(logits[:, target] if rival is None else logits[:, target] - logits[:, rival])
    return torch.cat(found)
