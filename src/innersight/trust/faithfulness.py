"""Deletion and insertion: does the class rest on the places a heatmap names (Petsiuk et al. 2018)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError, nearest
from innersight.model import Model

BATCH = 64


@dataclass(frozen=True, eq=False)
class Curves:
    """The target's probability while pixels are deleted or inserted, most important first.

    deletion, insertion : (maps, steps + 1) float32 in 0..1; column k has `k / steps` of the pixels deleted or inserted.
    """

    deletion: Tensor
    insertion: Tensor

    @property
    def scores(self) -> Tensor:
        """(maps,) area under insertion minus area under deletion, -1 to 1; reversing a map's order turns its sign."""
        steps = self.deletion.shape[1] - 1
        return torch.trapezoid(self.insertion - self.deletion, dx=1 / steps, dim=1)


def blur(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Blurred: a Gaussian with a standard deviation of a sixteenth of the shorter side."""
    sigma = min(x.shape[2:]) / 16
    for dim, side in ((2, x.shape[2]), (3, x.shape[3])):
        reach = min(side - 1, round(3 * sigma))
        at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        weight = torch.exp(-((at / sigma) ** 2) / 2)
        shape, pad = ((-1, 1), (0, 0, reach, reach)) if dim == 2 else ((1, -1), (reach, reach, 0, 0))
        kernel = (weight / weight.sum()).view(1, 1, *shape).expand(x.shape[1], 1, -1, -1)
        x = F.conv2d(F.pad(x, pad, mode="reflect"), kernel, groups=x.shape[1])
    return x


def mean(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Mean: every pixel has the picture's mean colour."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


_EMPTIERS: dict[str, Callable[[Tensor], Tensor]] = {"blur": blur, "mean": mean}


def emptier(baseline: str) -> Callable[[Tensor], Tensor]:
    """Return what turns pictures into those that removed pixels are taken from. Raises InnersightError if unknown."""
    if baseline not in _EMPTIERS:
        raise InnersightError(f"no baseline picture {baseline!r}; {nearest(baseline, _EMPTIERS)}")
    return _EMPTIERS[baseline]


def ranking(
    values: Float[Tensor, "h w"], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Int[Tensor, "H W"], bool]:
    """Return each pixel's rank, 0 for the highest value, and whether the map ranks anything at all.

    The raw, signed map is brought to `size` bilinearly. Equal values are ranked at random, as is all of a map that is
    constant or holds values that are not numbers.
    """
    wide = F.interpolate(values[None, None].double(), size=size, mode="bilinear", align_corners=False)
    flat = wide.flatten().cpu().numpy()
    says = bool(np.isfinite(flat).all()) and bool((values != values.flatten()[0]).any())
    shuffled = rng.permutation(flat.size)
    order = shuffled[np.argsort(-flat[shuffled], kind="stable")] if says else shuffled
    ranks = np.empty(flat.size, dtype=np.int64)
    ranks[order] = np.arange(flat.size)
    return torch.from_numpy(ranks.reshape(size)), says


def curves(
    model: Model,
    x: Float[Tensor, "C H W"],
    empty: Float[Tensor, "C H W"],
    target: int,
    ranks: Int[Tensor, "maps H W"],
    *,
    steps: int,
) -> Curves:
    """Return deletion and insertion curves of one picture for several rankings of its pixels.

    empty : the picture without its content, where removed pixels come from. Call it inside `tap.untouched(model)`. The
    curves of all maps share batches, and their ends, the picture itself and the empty one, are run once.
    """
    maps, pixels = len(ranks), ranks[0].numel()
    if not 1 <= steps <= pixels:
        raise InnersightError(f"steps is {steps}; give 1 to {pixels}, the number of pixels")
    x, empty = (t.to(model.device, model.dtype) for t in (x, empty))
    ranks = ranks.to(model.device)
    cuts = torch.tensor([round(k * pixels / steps) for k in range(1, steps)], device=model.device)
    # One job per probability needed: (map, number of pixels, inserted or deleted).
    jobs = torch.cartesian_prod(torch.arange(maps), torch.arange(steps - 1), torch.arange(2)).to(model.device)
    inner = [
        _probabilities(model, torch.where(_kept(ranks, cuts, jobs[i : i + BATCH])[:, None], x, empty), target)
        for i in range(0, len(jobs), BATCH)
    ]
    whole, nothing = _probabilities(model, torch.stack([x, empty]), target)
    grid = torch.cat(inner).view(maps, steps - 1, 2) if inner else torch.empty(maps, 0, 2)
    first, last = whole.expand(maps, 1), nothing.expand(maps, 1)
    return Curves(torch.cat([first, grid[:, :, 0], last], 1), torch.cat([last, grid[:, :, 1], first], 1))


def _kept(ranks: Int[Tensor, "maps H W"], cuts: Int[Tensor, " K"], jobs: Int[Tensor, "n 3"]) -> Bool[Tensor, "n H W"]:
    """Where the original pixel is seen: among the most important when inserting, elsewhere when deleting."""
    inside = ranks[jobs[:, 0]] < cuts[jobs[:, 1]][:, None, None]
    return inside == (jobs[:, 2] == 1)[:, None, None]


def _probabilities(model: Model, x: Float[Tensor, "B C H W"], target: int) -> Float[Tensor, " B"]:
    with torch.no_grad():
        logits: Tensor = model.logits(x)
    return model.probabilities(logits.float())[:, target].cpu()
