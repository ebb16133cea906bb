"""What a scan keeps of one layer: a fixed amount, however many pictures there are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tally:
    """What the units of one layer did over the pictures seen so far.

    value : (units, top) float32, the highest peaks of the unit's map, raw, highest first; -inf where there is none yet.
    place : (units, top, 2) int64, the (y, x) of each peak in the layer's grid.
    picture : (units, top) int64, number of the picture; -1 where there is none yet.
    mean : (units,) float32, mean over all pictures and places. positive : (units,) int64, pictures on which the unit is
    positive anywhere. pictures : how many were seen. grid : (h, w).
    """

    value: Tensor
    place: Tensor
    picture: Tensor
    mean: Tensor
    positive: Tensor
    pictures: int
    grid: tuple[int, int]

    @property
    def dead(self) -> Tensor:
        """(units,) bool: positive nowhere on any picture."""
        return self.positive == 0

    @property
    def always_on(self) -> Tensor:
        """(units,) bool: positive somewhere on every picture."""
        return self.positive == self.pictures

    def add(self, maps: Float[Tensor, "B units h w"], numbers: Int[Tensor, " B"]) -> "Tally":
        """Return the tally after these maps of the pictures `numbers`; of equal peaks the earlier picture ranks first.

        A peak that is not a number ranks last and is never kept.
        """
        top, width = self.value.shape[1], maps.shape[3]
        peaks, flat = maps.float().flatten(2).max(2)
        value = torch.cat([self.value, peaks.T.nan_to_num(-torch.inf, torch.inf, -torch.inf)], 1)
        place = torch.cat([self.place, torch.stack([flat // width, flat % width], 2).transpose(0, 1)], 1)
        picture = torch.cat([self.picture, numbers.expand(maps.shape[1], -1)], 1)
        picture = picture.masked_fill(value == -torch.inf, -1)
        # A stable sort, not topk: which of two equal peaks is kept must not depend on the batch size.
        order = value.sort(dim=1, descending=True, stable=True).indices[:, :top]
        seen = self.pictures + len(maps)
        return Tally(
            value.gather(1, order),
            place.gather(1, order[:, :, None].expand(-1, -1, 2)),
            picture.gather(1, order),
            self.mean + (maps.float().mean((0, 2, 3)) - self.mean) * (len(maps) / seen),
            self.positive + (peaks > 0).sum(0),
            seen,
            self.grid,
        )

    def cpu(self) -> "Tally":
        """Return it on the CPU, cut to the pictures there were."""
        keep = min(self.value.shape[1], self.pictures)
        value, place, picture = (t[:, :keep].contiguous().cpu() for t in (self.value, self.place, self.picture))
        return Tally(value, place, picture, self.mean.cpu(), self.positive.cpu(), self.pictures, self.grid)


def empty(units: int, grid: tuple[int, int], top: int, device: torch.device) -> Tally:
    """Return the tally of no pictures."""
    return Tally(
        torch.full((units, top), -torch.inf, device=device),
        torch.zeros(units, top, 2, dtype=torch.long, device=device),
        torch.full((units, top), -1, device=device),
        torch.zeros(units, device=device),
        torch.zeros(units, dtype=torch.long, device=device),
        0,
        grid,
    )
