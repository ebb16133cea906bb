"""What is told of a run: before it starts, and while it goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from innersight.model import Model
from innersight.render import figures
from innersight.render.colour import as_colour


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run is.

    done, total : pictures. share : of the updates, at most, that are made, 0 to 1. rate : updates of pictures a second.
    left : seconds, at most. pictures : returns those on their way, (what, (rows, C, H, W) in 0..1) each.
    """

    done: int
    total: int
    share: float
    rate: float
    left: float
    pictures: Callable[[], list[tuple[str, Tensor]]]
    model: Model

    def save(self, path: Path) -> None:
        """Write the pictures on their way as one sheet."""
        found = self.pictures()
        if found:
            labels = [what for what, rows in found for _ in rows]
            images = as_colour(torch.cat([rows for _, rows in found]), self.model.input.shown)
            title = f"{self.model.name}: {self.done} of {self.total} finished"
            figures.save_figure(figures.picture_grid(images, labels, title=title), path)


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. objectives, pictures : how many. seconds : about, where none converges early.

    bytes : of memory that the passes need beyond the network.
    """

    objectives: int
    pictures: int
    seconds: float
    bytes: int

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.1f} minutes" if self.seconds >= 90 else f"{self.seconds:.0f} seconds"
        return (
            f"{self.objectives} objectives, {self.pictures} pictures: about {minutes}, less where they converge early; "
            f"{self.bytes / 2**20:.0f} MiB beyond the network"
        )
