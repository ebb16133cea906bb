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
DRAWS = 4
FILLS = ("blur", "mean")


@dataclass(frozen=True)
class Removal:
    """What the score of a class, or its lead over another, loses without a fifth of an image.

    score : of the whole image. lost : for each map, when the cells are removed where it is highest; None for a map that
    ranks nothing. chance : when cells are removed at random, the mean of several draws. Both are means over two ways to
    fill what is removed.
    """

    score: float
    lost: tuple[float | None, ...]
    chance: float


def removals(
    model: Model,
    image: Image,
    maps: Maps,
    target: int,
    rival: int | None = None,
    seed: int = 0,
) -> Removal:
    """Return what each map's most important fifth counts for the score of a class, less that of a rival.

    All maps remove whole cells of one grid, so that a map of single pixels gains nothing by tearing the image apart.
    See `passes`.
    """
    size = model.input.height, model.input.width
    grid = min(CELLS, size[0]), min(CELLS, size[1])
    rng = np.random.default_rng(seed)
    # Drawn first, so that they are the same whatever maps follow.
    drawn = [_kept(torch.zeros(grid), size, grid, rng)[0] for _ in range(DRAWS)]
    ranked = [_kept(values, size, grid, rng) for values in maps]
    masks = torch.stack([torch.ones(size, dtype=torch.bool), *(kept for kept, _ in ranked), *drawn])
    x = stack([image], model.input)[0]
    fills = [imputers[name](x, torch.Generator().manual_seed(seed)) for name in FILLS]
    # The first mask removes nothing, whatever would fill it.
    inputs = torch.cat([fills[0](masks[:1]), *(fill(masks[1:]) for fill in fills)])
    scores = _scores(model, inputs, target, rival)
    lost = (scores[0] - scores[1:].view(len(FILLS), -1).mean(0)).tolist()
    by_map = tuple(one if ranks else None for one, (_, ranks) in zip(lost, ranked, strict=False))
    return Removal(float(scores[0]), by_map, sum(lost[len(maps) :]) / DRAWS)


def passes(maps: int) -> int:
    """Return how many passes of an image it takes to judge several maps of one question."""
    return 1 + len(FILLS) * (maps + DRAWS)


def _kept(
    values: Float[Tensor, "h w"], size: tuple[int, int], grid: tuple[int, int], rng: np.random.Generator
) -> tuple[Bool[Tensor, "H W"], bool]:
    """Return which pixels stay when the highest cells of a map are removed, and whether it ranks any."""
    finite = bool(values.isfinite().all())
    cells = F.adaptive_avg_pool2d(enlarged(values.nan_to_num(0, 0, 0), size)[None, None].double(), grid)[0, 0]
    ranks, some = ranking(cells, grid, rng)
    kept = ranks >= round(SHARE * grid[0] * grid[1])
    return F.interpolate(kept[None, None].float(), size, mode="nearest")[0, 0] > 0, some and finite


def _scores(model: Model, inputs: Float[Tensor, "n C H W"], target: int, rival: int | None) -> Float[Tensor, " n"]:
    found = []
    with tap.untouched(model), torch.no_grad(), tap.fold_batchnorm():
        for part in torch.split(inputs, batch_of(model)):
            given = part.to(model.device, model.dtype, memory_format=memory_format(model))
            logits = precise(model.logits(given)).cpu()
            found.append(logits[:, target] if rival is None else logits[:, target] - logits[:, rival])
    return torch.cat(found)
