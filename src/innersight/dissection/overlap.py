"""Overlap of a unit's responses with a part, summed over a data set image by image."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from innersight.inputs import ImageEntry

RESAMPLES = 400
COARSE = 12
SHOWN = 3
AT_ONCE = 256


class Overlap:
    """Sums of one layer, whose memory does not grow with the number of images.

    threshold : (units,) above which a unit responds. grid : (h, w) that maps are interpolated to. both, on : (units,
    parts) and (units,) int64, pixels where unit and part are, and where the unit is. above : (units,) locations of the
    layer's own grid above the threshold, of `locations`. both_drawn, on_drawn : the same sums for RESAMPLES draws of
    the images. sample : maps (images, units, COARSE, COARSE) uint8 of those drawn for the test, 255 for a cell that is
    fully on. shown : (units, SHOWN) numbers of the images on which each unit responds most, -1 where it responds on
    fewer.
    """

    def __init__(self, threshold: Float[Tensor, " units"], parts: int, grid: tuple[int, int], sampled: int) -> None:
        units, device = len(threshold), threshold.device
        self.threshold, self.grid = threshold, grid
        self.both = torch.zeros(units, parts, dtype=torch.int64, device=device)
        self.on, self.above = (torch.zeros(units, dtype=torch.int64, device=device) for _ in range(2))
        self.locations = 0
        self.both_drawn = torch.zeros(RESAMPLES, units, parts, device=device)
        self.on_drawn = torch.zeros(RESAMPLES, units, device=device)
        self.sample = torch.zeros(sampled, units, COARSE, COARSE, dtype=torch.uint8)
        self.shown = torch.full((units, SHOWN), -1, dtype=torch.int64, device=device)
        self._most = torch.zeros(units, SHOWN, device=device)

    def add(
        self,
        activation: Float[Tensor, "B units h w"],
        masks: Float[Tensor, "B parts pixels"],
        entries: Sequence[ImageEntry],
        drawn: Float[Tensor, "resamples B"],
        rows: Sequence[int | None],
    ) -> None:
        """Take in one batch.

        masks : 0 or 1. entries : the images. drawn : how often each is in each draw. rows : its row in the sample.
        """
        maps = finite(activation)
        self.above += (maps > self.threshold[:, None, None]).sum((0, 2, 3))
        self.locations += len(maps) * maps.shape[2] * maps.shape[3]
        both = torch.zeros(len(maps), *self.both.shape, device=maps.device)
        on = torch.zeros(len(maps), len(self.on), device=maps.device)
        for i, row in enumerate(rows):
            # Interpolation never exceeds the highest location: the other units respond nowhere on this image.
            responding = (maps[i].amax((1, 2)) > self.threshold).nonzero()[:, 0]
            for units in torch.split(responding, AT_ONCE) if len(responding) else ():
                responses = responds(maps[i, units], self.threshold[units], self.grid).float()
                both[i, units] = responses.flatten(1) @ masks[i].T
                on[i, units] = responses.sum((1, 2))
                if row is not None:
                    self.sample[row, units.cpu()] = coarse(responses).cpu()
        self.both += both.sum(0).long()
        self.on += on.sum(0).long()
        self.both_drawn += torch.einsum("rb,bup->rup", drawn, both)
        self.on_drawn += drawn @ on
        self._show(on, entries)

    def _show(self, on: Float[Tensor, "B units"], entries: Sequence[ImageEntry]) -> None:
        numbers = torch.tensor([entry.number for entry in entries], device=on.device)
        most = torch.cat([self._most, on.T], 1)
        images = torch.cat([self.shown, numbers.expand(len(self.shown), -1)], 1).masked_fill(most == 0, -1)
        order = most.argsort(dim=1, descending=True, stable=True)[:, :SHOWN]
        self._most, self.shown = most.gather(1, order), images.gather(1, order)


def finite(activation: Float[Tensor, "B units h w"]) -> Float[Tensor, "B units h w"]:
    """Return maps in float32; one with values that are not finite is -inf everywhere."""
    maps = activation.float()
    return maps.masked_fill(~maps.isfinite().all(3).all(2)[:, :, None, None], -torch.inf)


def responds(
    maps: Float[Tensor, "units h w"], threshold: Float[Tensor, " units"], grid: tuple[int, int]
) -> Bool[Tensor, "units H W"]:
    """Return where units respond: maps interpolated bilinearly to a grid, above the threshold."""
    wide: Bool[Tensor, "units H W"] = (
        F.interpolate(maps[None], size=grid, mode="bilinear")[0] > threshold[:, None, None]
    )
    return wide


def coarse(mask: Float[Tensor, "n H W"]) -> Tensor:
    """Return how much of each cell of a COARSE grid is 1, (n, COARSE, COARSE) uint8, 255 for all of it."""
    return F.adaptive_avg_pool2d(mask[None], COARSE)[0].mul(255).round().to(torch.uint8)


def draws(entries: Sequence[ImageEntry]) -> Float[Tensor, "resamples B"]:
    """Return how often each image is in each resample: Poisson of mean 1, decided by its number alone."""
    rows = [np.random.default_rng([entry.number, 17]).poisson(1.0, RESAMPLES) for entry in entries]
    return torch.from_numpy(np.stack(rows, 1).astype(np.float32))


def share(both: Tensor, on: Tensor, area: Tensor) -> Tensor:
    """Return intersection over union, (..., units, parts), of sums `on` (..., units) and `area` (..., parts)."""
    union = on[..., None] + area[..., None, :] - both
    return torch.where(union > 0, both / union.clamp(min=1), 0.0).float()
