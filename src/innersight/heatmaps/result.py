"""Heatmaps, and how they are drawn and written."""

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight.activations import seen_array
from innersight.brief import brief
from innersight.image import Image
from innersight.model import Model
from innersight.render import figures
from innersight.render.colour import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE = 2500


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One method on one image.

    layer : where it was read, None for methods that read the pixels. values : (h, w) float32, or float64 where they are
    too large or too small for it; raw: signed where the method is, in `unit`, at its own resolution. target : the class
    explained, and rival : the class whose score is taken off; None where there is none. question : the target in words.
    score : the target's value; logit and probability : of the class, None where the target is none. error : (h, w)
    standard error of every value, where the method draws at random. facts : further numbers, such as a completeness
    gap. verdict : None, or the sentence that says there is no evidence to show. doubt : None, or the sentence that says
    the network is not sure of this image, as of one whose like it never saw.
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
        """Return its colours: fine maps end at the 99.5th percentile, so that one pixel does not hide all."""
        return scale_of(self.values, share=0.995 if self.values.numel() > FINE else 1.0)


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Heatmaps for images by method and layer.

    layers : those that were read, and why : the reason for the first, or for none. shared : whether images share the
    scale of a method and layer. left_out : one sentence for each method that cannot read this network. skipped : one
    sentence for each file that could not be read. notes : how the images and their labels were understood.
    warnings : what of the input contract seems wrong, see `innersight.input_warnings`.
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

    __repr__ = brief

    @property
    def layer(self) -> str | None:
        """The first layer that was read; None where no layer of the network has places."""
        return self.layers[0] if self.layers else None

    def scale(self, entry: Heatmap) -> Scale:
        """Return the colours of one of the heatmaps: its own scale, or that of all images."""
        if not self.shared:
            return entry.scale
        alike = [one for one in self.entries if (one.method, one.layer) == (entry.method, entry.layer)]
        scales = [one.scale for one in alike]
        high = max(scale.high for scale in scales)
        own = entry.values.abs().amax()
        return Scale(high, any(scale.signed for scale in scales), clipped=bool(own > high))

    def figure(self) -> "Figure":
        """Draw one row per image: the image, then each method laid over it, with its scale and unit."""
        return _draw(self)

    def to_json(self) -> dict[str, Any]:
        """Return targets, ranges and verdicts."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "layers": list(self.layers),
            "why": self.why,
            "heatmaps": [_row(self.model, entry) for entry in self.entries],
            "left out": list(self.left_out),
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

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


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


COLUMNS = 6


def _draw(result: Heatmaps) -> "Figure":
    images = list(dict.fromkeys(entry.image for entry in result.entries))
    columns = list(dict.fromkeys((entry.method, entry.layer) for entry in result.entries))
    by_place = {(entry.image, entry.method, entry.layer): entry for entry in result.entries}
    # Many methods: an image's row goes on below itself.
    wide = min(COLUMNS, len(columns))
    lines = -(-len(columns) // wide)
    figure = figures.new_figure(2.3 * (wide + 1), 2.9 * len(images) * lines + 0.3)
    figure.suptitle(f"{result.model.name}: {', '.join((*result.layers, result.why))}", fontsize=8)
    axes = figure.subplots(len(images) * lines, wide + 1, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, image in enumerate(images):
        seen = seen_array(image, result.model)
        own = axes[row * lines]
        own[0].imshow(seen)
        own[0].set_title(f"{image.name}\n{_asked(result.model, by_place[image, *columns[0]])}", fontsize=7)
        for number, (method, layer) in enumerate(columns):
            entry, axis = by_place[image, method, layer], axes[row * lines + number // wide, 1 + number % wide]
            scale = result.scale(entry)
            if entry.verdict:
                axis.set_box_aspect(seen.shape[0] / seen.shape[1])
                text = axis.text(0.5, 0.5, textwrap.fill(entry.verdict, 26), ha="center", va="center", fontsize=7)
                text.set_in_layout(False)
            else:
                figures.draw_map(axis, entry.values, scale, seen)
            where = f" at {layer}" if layer is not None and len(result.layers) > 1 else ""
            axis.set_title(f"{method}{where}\n{scale}\n{entry.unit}", fontsize=7)
    return figure


def _asked(model: Model, entry: Heatmap) -> str:
    if entry.target is None:
        return f"{entry.question}: {entry.score:.3g}"
    chance = "" if entry.probability is None else f", p {entry.probability:.2f}"
    versus = "" if entry.rival is None else f" less {model.labels[entry.rival]}: {entry.score:.3g}"
    doubt = f"{chr(10)}{textwrap.fill(entry.doubt, 42)}" if entry.doubt else ""
    return (
        f"{model.labels[entry.target]}: {model.head.unit} {entry.logit:.3g}{chance}{versus and chr(10) + versus}{doubt}"
    )
