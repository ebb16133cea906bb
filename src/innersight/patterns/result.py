"""Patterns with their scores: saved, drawn and listed."""

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight.brief import brief
from innersight.model import Model
from innersight.patterns.examples import Example
from innersight.patterns.objectives import Objective
from innersight.patterns.score import Score
from innersight.render import figures
from innersight.render.colour import as_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 28


@dataclass(frozen=True, eq=False)
class Patterns:
    """Patterns with their scores.

    targets : what each was made to drive; `str(target)` is the text it is asked for by.
    images : (n, C, H, W) float32 pixels in 0..1: of the seeds the one that responds most.
    every : (n, seeds * variants, C, H, W), all of them. importance : (n, H, W) in 0..1, how much each place of `images`
    mattered to the optimizer (its transparency). scores : of `images`. best : number of the seed that is shown.
    settings : everything that reproduces them. negatives : what switches each target off, where it was asked for.
    examples : (n, k, C, H, W) in 0..1, the parts of the images given that drive each target most, highest first; k is
    0 without images. natural : the names and values of these.
    skipped : one sentence for each file that could not be read. notes : how the images were understood.
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
    natural: tuple[tuple[Example, ...], ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def figure(self, *, columns: int = 8, transparent: bool = False) -> "Figure":
        """Draw the patterns with address, response and flags.

        With variants, negatives or examples these stand together: pattern, variants, negative, examples.
        transparent : fade what did not matter into white.
        """
        pixels = self.images
        if transparent:
            shown = self.importance.sqrt()[:, None]
            pixels = pixels * shown + (1 - shown)
        start = "a given image" if "init" in self.settings else "random pixels"
        title = f"{self.model.name}: patterns from {start}"
        if self.negatives is None and not self.examples.numel() and self._variants == 1:
            return figures.image_grid(self._colour(pixels), self._labels(), title=title, columns=columns)
        images, labels = [], []
        negatives = self.negatives
        for i, label in enumerate(self._labels()):
            row = [pixels[i : i + 1]]
            labels.append(label)
            if self._variants > 1:
                first = self.best[i] * self._variants
                row.append(self.every[i, first + 1 : first + self._variants])
                labels += [f"variant {number}" for number in range(2, self._variants + 1)]
            if negatives is not None:
                row.append(negatives.images[i : i + 1])
                labels.append(f"off: {_told(negatives.scores[i])}")
            if self.examples.numel():
                row.append(self.examples[i])
                own = self.natural[i]
                labels += [f"{one.value:.3g} in {_short(one.image)}" for one in own]
                labels += [""] * (self.examples.shape[1] - len(own))
            images.append(torch.cat(row))
        together = len(images[0])
        return figures.image_grid(
            self._colour(torch.cat(images)), labels, title=title, columns=columns, together=together
        )

    def to_json(self) -> dict[str, Any]:
        """Return addresses, scores and settings."""
        rows = [
            {"address": str(target), **score.to_json()} for target, score in zip(self.targets, self.scores, strict=True)
        ]
        for row, examples in zip(rows, self.natural, strict=False):
            row["examples"] = [vars(one) for one in examples]
        found = {"model": self.model.name, "settings": self.settings, "patterns": rows}
        found |= {"skipped": list(self.skipped), "notes": list(self.notes)}
        return found if self.negatives is None else {**found, "negatives": self.negatives.to_json()["patterns"]}

    def tensors(self) -> dict[str, Tensor]:
        """Return `images`, `every`, `importance`, and `negatives` and `examples` where there are any."""
        found = {"images": self.images, "every": self.every, "importance": self.importance}
        if self.negatives is not None:
            found["negatives"] = self.negatives.images
        return found | ({"examples": self.examples} if self.examples.numel() else {})

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.svg` or `.pdf` (the figure), `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _colour(self, images: Tensor) -> Any:
        return as_colour(images, self.model.input.shown)

    def _labels(self) -> list[str]:
        rows = zip(self.targets, self.scores, strict=True)
        return ["\n".join([*textwrap.wrap(str(target), WIDTH), _told(score)]) for target, score in rows]

    @property
    def _variants(self) -> int:
        return int(self.settings.get("variants", 1))

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def _told(score: Score) -> str:
    """Return a response with its flags, for under an image."""
    times = f", {score.ratio:.1f}x natural" if score.ratio is not None else ""
    flags = f"\n{', '.join(score.flags)}" if score.flags else ""
    return f"{score.activation:.3g}{times}{flags}"


def _short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]
