"""Insertion and deletion curves: the class's probability while pixels are removed in the order of a heatmap."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from innersight.errors import InnersightError
from innersight.heatmaps.masked import MaskedPasses
from innersight.quotients import scaled

AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Curves:
    """Numbers of the class while pixels are deleted or inserted, most important first (Petsiuk et al. 2018).

    deletion, insertion : (maps, steps + 1, ...); position k has `k / steps` of the pixels deleted or inserted.
    """

    deletion: Tensor
    insertion: Tensor

    @property
    def scores(self) -> Tensor:
        """(maps, ...) area under insertion minus area under deletion; reversing a map's order turns its sign.

        -1 to 1 for probabilities.
        """
        return area(self.insertion) - area(self.deletion)


def area(curve: Float[Tensor, "maps ..."]) -> Float[Tensor, "maps ..."]:
    """Return the area under curves whose ends are 0 and 1 of the pixels, by the trapezoidal rule."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def enlarged(values: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return a map bilinearly at another size, float32, divided by its largest value.

    No metric depends on the scale of a map. What is equal stays so: interpolation, whose weights add up to 1 only up to
    rounding, is done in float64.
    """
    return F.interpolate(scaled(values[None, None].double(), (2, 3)), size=size, mode="bilinear")[0, 0].float()


def ranking(
    values: Float[Tensor, "h w"], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Int[Tensor, "H W"], bool]:
    """Return each pixel's rank, 0 for the highest value, and whether the map ranks anything at all.

    The raw, signed map is brought to `size` bilinearly. Equal values are ranked at random, as is all of a map that is
    constant or holds values that are not numbers.
    """
    flat = enlarged(values, size).flatten().cpu().numpy()
    ranked = bool(np.isfinite(flat).all()) and bool((values != values.flatten()[0]).any())
    shuffled = rng.permutation(flat.size)
    order = shuffled[np.argsort(-flat[shuffled], kind="stable")] if ranked else shuffled
    ranks = np.empty(flat.size, dtype=np.int64)
    ranks[order] = np.arange(flat.size)
    return torch.from_numpy(ranks.reshape(size)), ranked


def check_steps(steps: int, pixels: int) -> None:
    """Raise InnersightError for a number of portions that cannot be."""
    if not 1 <= steps <= pixels:
        raise InnersightError(f"steps is {steps}; give 1 to {pixels}, the number of pixels")


def masks_of(maps: int, steps: int) -> int:
    """Return how many masks the curves of several maps take."""
    return 2 + 2 * maps * (steps - 1)


def curves(ranks: Int[Tensor, "maps H W"], steps: int) -> MaskedPasses[Curves]:
    """Yield masks that delete and insert pixels in the order of several maps; return their curves, one for each number.

    A generator for `run_masked`: it is sent (n, ...) and returns curves (maps, steps + 1, ...). Their ends, the
    image itself and the empty one, are evaluated once for all maps.
    """
    maps, pixels = len(ranks), ranks[0].numel()
    cuts = torch.tensor([round(k * pixels / steps) for k in range(1, steps)], dtype=torch.long)
    ends = yield torch.stack(
        [torch.ones_like(ranks[0], dtype=torch.bool), torch.zeros_like(ranks[0], dtype=torch.bool)]
    )
    # One job for each value needed: (map, number of pixels, inserted or deleted).
    jobs = torch.cartesian_prod(torch.arange(maps), torch.arange(steps - 1), torch.arange(2))
    inner = []
    for i in range(0, len(jobs), AT_ONCE):
        which, cut, inserted = jobs[i : i + AT_ONCE].T
        inside = ranks[which] < cuts[cut][:, None, None]
        inner.append((yield inside == (inserted == 1)[:, None, None]))
    numbers = ends.shape[1:]
    grid = (torch.cat(inner) if inner else ends[:0]).view(maps, steps - 1, 2, *numbers)
    whole, nothing = (end.expand(maps, 1, *numbers) for end in ends)
    deletion = torch.cat([whole, grid[:, :, 0], nothing], 1)
    return Curves(deletion, torch.cat([nothing, grid[:, :, 1], whole], 1))
