"""Heatmaps of images, by method and layer."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from innersight.brief import brief
from innersight.image import Image
from innersight.model import Model
from innersight.render.colour import Scale, scale_of
from innersight.result import Result

FINE = 2500
"""Locations from which on a map is fine: it is drawn up to its 99.5th percentile."""


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One method on one image.

    Attributes
    ----------
    image
        The image.
    method
        Name of the heatmap method.
    layer
        Where it was read; None for methods that read the pixels.
    values
        (h, w) float32, or float64 where they are too large or too small for it; raw: signed where the method is, in
        `unit`, at its own resolution.
    unit
        Of the values.
    target
        Number of the class explained, and `rival` of the class whose score is subtracted; None where there is none.
    rival
        See `target`.
    question
        The target in words.
    score
        Value of the target for this image.
    logit, probability
        Of the class; None where the target is none.
    verdict
        None, or a sentence where the map shows nothing.
    error
        (h, w) standard error of every value, where the method draws at random.
    facts
        Further numbers, such as a completeness gap.
    doubt
        None, or a sentence where the network has low confidence in all classes.

    """

    image: Image
    method: str
    layer: str | None
    values: Tensor
    unit: str
    target: int | None
    rival: int | None
    question: str
    score: float
    logit: float | None
    probability: float | None
    verdict: str | None
    error: Tensor | None = None
    facts: dict[str, float] = field(default_factory=dict)
    doubt: str | None = None

    __repr__ = brief

    @property
    def scale(self) -> Scale:
        """Its colour scale: fine maps end at the 99.5th percentile, so that single pixels do not hide the rest."""
        return scale_of(self.values, share=0.995 if self.values.numel() > FINE else 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Heatmaps(Result):
    """Heatmaps of images by method and layer.

    Attributes
    ----------
    model
        The network.
    entries
        One for each image, method and layer.
    layers
        Those that were read.
    why
        Why the first layer was read, or why none was.
    shared
        Whether all images of a method and layer are drawn on one scale.
    left_out
        One sentence for each method that cannot read this network.
    skipped
        One sentence for each file that could not be read.
    notes
        How the images and their labels were understood.
    warnings
        What of the input contract seems wrong, see `innersight.input_warnings`.

    """

    model: Model
    entries: tuple[Heatmap, ...]
    layers: tuple[str, ...]
    why: str
    shared: bool = False
    left_out: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def layer(self) -> str | None:
        """The first layer that was read; None where no layer of the network has a grid."""
        return self.layers[0] if self.layers else None

    def scale(self, entry: Heatmap) -> Scale:
        """Return the colour scale of one of the heatmaps: its own, or that of all images.

        Parameters
        ----------
        entry
            One of `entries`.

        Returns
        -------
        Scale
            That of all images of its method and layer where `shared`.

        """
        if not self.shared:
            return entry.scale
        same = [one for one in self.entries if (one.method, one.layer) == (entry.method, entry.layer)]
        scales = [one.scale for one in same]
        high = max(scale.high for scale in scales)
        own = entry.values.abs().amax()
        return Scale(high, any(scale.signed for scale in scales), clipped=bool(own > high))

    def to_json(self) -> dict[str, Any]:
        """Return targets, ranges and verdicts."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "layers": list(self.layers),
            "why": self.why,
            "heatmaps": [_row(self.model, entry) for entry in self.entries],
            "left_out": list(self.left_out),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the raw values as `METHOD/NUMBER`, by `LAYER` too where there are several; errors with `/error`."""
        counts: dict[str, int] = {}
        named = {}
        for entry in self.entries:
            several = len(self.layers) > 1 and entry.layer is not None
            name = f"{entry.method}/{entry.layer}" if several else entry.method
            number = counts[name] = counts.get(name, -1) + 1
            named[f"{name}/{number}"] = entry.values
            if entry.error is not None:
                named[f"{name}/{number}/error"] = entry.error
        return named


def _row(model: Model, entry: Heatmap) -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": entry.image.name,
        "method": entry.method,
        "layer": entry.layer,
        "question": entry.question,
        "target": None if entry.target is None else model.labels[entry.target],
        "versus": None if entry.rival is None else model.labels[entry.rival],
        "score": entry.score,
        "logit": entry.logit,
        "probability": entry.probability,
        "unit": entry.unit,
        "low": float(entry.values.min()),
        "high": float(entry.values.max()),
        "grid": list(entry.values.shape),
        "verdict": entry.verdict,
        "doubt": entry.doubt,
        **entry.facts,
    }
    if entry.error is not None:
        row["median standard error"] = float(entry.error.median())
    return row
