"""What training leaves: the run folder, and how accurate its weights are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from innersight.result import Result
from innersight.sources.run_card import RunCard, judged_on


@dataclass(frozen=True, eq=False, repr=False)
class TrainingRun(Result):
    """A trained network in its folder; `innersight.load(f"run:{folder}")` opens it.

    Attributes
    ----------
    folder : Path
        The run folder.
    card : RunCard
        The content of its `run.json`.
    accuracy : float
        Share of the validation images that the stored weights classify correctly, 0 to 1.
    images : int
        Number of validation images.
    interval : tuple of float
        95% Wilson interval of the accuracy.
    epochs : int
        Epochs trained.
    seconds : float
        Duration of the training.
    stopped : str or None
        When it was ended early on request ("stopped after epoch 3"); None otherwise.

    """

    folder: Path
    card: RunCard
    accuracy: float
    images: int
    interval: tuple[float, float]
    epochs: int
    seconds: float
    stopped: str | None = None

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        low, high = self.interval
        early = f", {self.stopped}" if self.stopped else ""
        return (
            f"accuracy {self.accuracy:.4f} on {judged_on(self.card.metrics)} (95% interval {low:.3f}-{high:.3f}), "
            f"{self.epochs} epoch{'s' * (self.epochs != 1)} in {self.seconds:.0f} s{early}: {self.folder}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the folder, the architecture, the labels, the metrics and the recipe."""
        card = self.card
        return {
            "folder": str(self.folder),
            "net": card.net,
            "labels": list(card.labels),
            "metrics": card.metrics,
            "recipe": card.recipe,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return `confusion`, (classes, classes) int64: validation images by true class (rows) and prediction."""
        return {"confusion": torch.tensor(self.card.metrics["confusion"], dtype=torch.int64)}
