"""Patterns with their scores; how far a run is, and what it will cost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight.model import Model
from innersight.patterns.growth import PatternGrowth
from innersight.patterns.judge import PatternVerdict
from innersight.patterns.objectives import Objective
from innersight.patterns.responses import PatternExample
from innersight.patterns.score import Score
from innersight.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class Patterns(Result):
    """Patterns with their scores.

    Attributes
    ----------
    model : Model
        The network.
    targets : tuple of Objective
        What each maximizes; `str(target)` is the text that asks for it.
    images : Tensor
        (n, C, H, W) float32 pixels in 0..1: of the seeds the one with the highest response.
    every : Tensor
        (n, seeds * variants, C, H, W), the images of all seeds and variants.
    importance : Tensor
        (n, H, W) in 0..1, how much each pixel of `images` mattered to the optimizer.
    scores : tuple of Score
        Of `images`.
    best : tuple of int
        Number of the seed that is shown.
    settings : dict
        Everything that reproduces them, as plain data; `PatternOptions.from_json` reads it.
    negatives : Patterns or None
        What inhibits each target, where asked for.
    examples : Tensor
        (n, k, C, H, W) in 0..1, the crops of the images given that activate each target most, highest first; k is 0
        without images.
    natural : tuple of tuple of PatternExample
        Names and responses of the examples.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images were understood.
    growth : PatternGrowth or None
        How the images arose, update by update, where the option `growth` asked for it.
    verdicts : tuple of PatternVerdict or None
        Of each image what the network `judge` takes it for, where one was given; None for what is no class.

    """

    model: Model
    targets: tuple[Objective, ...]
    images: Tensor
    every: Tensor
    importance: Tensor
    scores: tuple[Score, ...]
    best: tuple[int, ...]
    settings: dict[str, Any]
    negatives: "Patterns | None" = None
    examples: Tensor = field(default_factory=lambda: torch.empty(0))
    natural: tuple[tuple[PatternExample, ...], ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    growth: PatternGrowth | None = None
    verdicts: tuple[PatternVerdict | None, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return addresses, scores and settings."""
        rows = [
            {"address": str(target), **score.to_json()} for target, score in zip(self.targets, self.scores, strict=True)
        ]
        for row, examples in zip(rows, self.natural, strict=False):
            row["examples"] = [vars(one) for one in examples]
        for row, verdict in zip(rows, self.verdicts, strict=False):
            row["judge"] = None if verdict is None else vars(verdict)
        found = {"model": self.model.name, "settings": self.settings, "patterns": rows}
        found |= {"skipped": list(self.skipped), "notes": list(self.notes)}
        return found if self.negatives is None else {**found, "negatives": self.negatives.to_json()["patterns"]}

    def tensors(self) -> dict[str, Tensor]:
        """Return `images`, `every`, `importance`, and `negatives` and `examples` where there are any."""
        found = {"images": self.images, "every": self.every, "importance": self.importance}
        if self.negatives is not None:
            found["negatives"] = self.negatives.images
        return found | ({"examples": self.examples} if self.examples.numel() else {})

    @property
    def variants(self) -> int:
        """How many images of each objective were made to differ."""
        return int(self.settings.get("variants", 1))


@dataclass(frozen=True, eq=False, repr=False)
class PatternProgress(Result):
    """How far a run is; its figure shows the images on their way.

    Attributes
    ----------
    done, total : int
        Finished images, and all.
    share : float
        Share of the updates that are made, 0 to 1, if no image converges early.
    rate : float
        Updates of images per second.
    left : float
        Seconds left at most.
    images : callable
        Returns the images on their way: the objective's text and (rows, C, H, W) in 0..1 of each.
    model : Model
        The network.

    Examples
    --------
    >>> import innersight as ins
    >>> shown = []
    >>> found = ins.patterns(ins.load("small:4"), "stage1:0", steps=8, seeds=1, progress=shown.append)
    >>> shown[-1].done <= shown[-1].total
    True

    """

    done: int
    total: int
    share: float
    rate: float
    left: float
    images: Callable[[], list[tuple[str, Tensor]]]
    model: Model

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and the objectives of the images on their way."""
        numbers = {name: getattr(self, name) for name in ("done", "total", "share", "rate", "left")}
        return {**numbers, "objectives": [what for what, _ in self.images()]}

    def tensors(self) -> dict[str, Tensor]:
        """Return the images on their way, (n, C, H, W), under "images"."""
        rows = [rows for _, rows in self.images()]
        return {"images": torch.cat(rows) if rows else torch.empty(0)}

    def save(self, path: str | Path, **drawing: Any) -> Path:
        """Write the images on their way as `Result.save` does; no file while there are none.

        Parameters
        ----------
        path
            Its ending says what is written, see `Result.save`.
        **drawing
            Options of the figure, see `figure`.

        Returns
        -------
        pathlib.Path
            The file.

        """
        return super().save(path, **drawing) if self.images() else Path(path)


@dataclass(frozen=True)
class PatternEstimate:
    """What a run will cost; `str` gives it in one sentence.

    Attributes
    ----------
    objectives, images : int
        How many.
    seconds : float
        Duration if no image converges early.
    bytes : int
        Memory of the passes, beyond the network.

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
