"""How patterns arose: their stages, and films of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight.model import Model
from innersight.patterns.jobs import FinishedPattern
from innersight.render.figures import raster
from innersight.render.film import write_film
from innersight.result import Result
from innersight.scalars import at_least_one


@dataclass(frozen=True, eq=False, repr=False)
class PatternGrowth(Result):
    """Patterns at several stages, from random pixels to the finished image, or from epoch to epoch of a training.

    Attributes
    ----------
    model : Model
        The network; of several epochs the last one.
    targets : tuple of str
        What each pattern maximizes.
    unit : str
        What the stages count: "update" or "epoch".
    stages : tuple of int
        Their numbers, ascending.
    images : Tensor
        (n, stages, C, H, W) float16 pixels in 0..1. A pattern that was finished before a stage stands there finished.
    settings : dict
        Everything that reproduces them, as plain data.
    skipped, notes : tuple of str
        As in `Patterns`; empty.

    """

    model: Model
    targets: tuple[str, ...]
    unit: str
    stages: tuple[int, ...]
    images: Tensor
    settings: dict[str, Any]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was drawn, the stages and the settings."""
        found = {"targets": list(self.targets), "unit": self.unit, "stages": list(self.stages)}
        return {"model": self.model.name, **found, "settings": self.settings}

    def tensors(self) -> dict[str, Tensor]:
        """Return `images`."""
        return {"images": self.images}

    def film(self, path: str | Path, *, seconds: float = 0.3, columns: int = 8) -> Path:
        """Write a short animation, one stage after the other; the last one is held longer.

        Parameters
        ----------
        path
            A file that ends in .webp, .gif or .mp4 (which needs the program `ffmpeg`).
        seconds
            How long each stage is shown; above 0.
        columns
            Patterns in a row at most; at least 1.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InnersightError
            For another ending, for `seconds` or `columns` out of range, without `ffmpeg` for .mp4, and for a file that
            cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import innersight as ins
        >>> found = ins.patterns(ins.load("small:4"), "stage1:0", steps=4, seeds=1, size=32, growth=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.growth.film(Path(folder, "growth.gif")).name
        'growth.gif'

        """
        at_least_one(columns=columns)
        frames = (raster(self.figure(stage=stage, columns=columns)) for stage in range(len(self.stages)))
        return write_film(Path(path), frames, seconds)


def grown(model: Model, chosen: Sequence[FinishedPattern], settings: dict[str, Any]) -> PatternGrowth:
    """Return how finished patterns arose, each at the stages of the one that took longest."""
    longest = max(chosen, key=lambda one: one.steps)
    rows = [[_last(one.stages, stage) for stage in longest.stages] for one in chosen]
    images = torch.stack([one.growth[row] for one, row in zip(chosen, rows, strict=True)])
    targets = tuple(str(one.job.objective) for one in chosen)
    return PatternGrowth(model, targets, "update", longest.stages, images, settings)


def _last(stages: Sequence[int], wanted: int) -> int:
    """Return the place of the last stage that is not after `wanted`."""
    return max(i for i, stage in enumerate(stages) if stage <= wanted)
