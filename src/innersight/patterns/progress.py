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

    done, total : images. share : of the updates, at most, that are made, 0 to 1. rate : updates of images a second.
    left : seconds, at most. images : returns those on their way, (what, (rows, C, H, W) in 0..1) each.
    """

    done: int
    total: int
    share: float
    rate: float
    left: float
    images: Callable[[], list[tuple[str, Tensor]]]
    model: Model

    def save(self, path: Path) -> None:
        """Write the images on their way as one sheet."""
        found = self.images()
        if found:
            labels = [what for what, rows in found for _ in rows]
            images = as_colour(torch.cat([rows for _, rows in found]), self.model.input.shown)
            title = f"{self.model.name}: {self.done} of {self.total} finished"
            figures.save_figure(figures.image_grid(images, labels, title=title), path)


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. objectives, images : how many. seconds : about, where none converges early.

    bytes : of memory that the passes need beyond the network.
    """

    objectives: int
    images: int
    seconds: float
    bytes: int

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.1f} minutes" if self.seconds >= 90 else f"{self.seconds:.0f} seconds"
        return (
            f"{self.objectives} objectives, {self.images} images: about {minutes}, less where they converge early; "
            f"{self.bytes / 2**20:.0f} MiB beyond the network"
        )
