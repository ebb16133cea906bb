"""`explain`: heatmaps of chosen methods for pictures and a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight import tap
from innersight.errors import InnersightError
from innersight.files import read_pictures
from innersight.heatmaps.request import Request
from innersight.heatmaps.request import methods as registry
from innersight.image import Picture, stack
from innersight.layers import check_layers, last_grid
from innersight.maps import seen_array
from innersight.model import Model
from innersight.predict import run
from innersight.render import figures
from innersight.render.colour import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 16
FINE = 2500


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One method on one picture.

    values : (h, w) float32, raw: signed where the method is, in the unit its docstring states, at its own resolution.
    verdict : None, or the sentence that says there is no evidence to show.
    """

    picture: Picture
    method: str
    target: int
    logit: float
    probability: float | None
    values: Tensor
    verdict: str | None

    @property
    def scale(self) -> Scale:
        """Return its colours: fine maps end at the 99.5th percentile, so that one pixel does not hide all."""
        return scale_of(self.values, share=0.995 if self.values.numel() > FINE else 1.0)


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Heatmaps for pictures by method, with the layer that was read and why.

    skipped : one sentence for each file that could not be read.
    """

    model: Model
    entries: tuple[Heatmap, ...]
    layer: str
    why: str
    skipped: tuple[str, ...] = ()

    def figure(self) -> "Figure":
        """Draw one row per picture: the picture, then each method laid over it on its own scale."""
        pictures = list(dict.fromkeys(entry.picture for entry in self.entries))
        names = list(dict.fromkeys(entry.method for entry in self.entries))
        by_place = {(entry.picture, entry.method): entry for entry in self.entries}
        figure = figures.new_figure(2.3 * (len(names) + 1), 2.6 * len(pictures) + 0.3)
        figure.suptitle(f"{self.model.name}: {self.layer}, {self.why}", fontsize=8)
        axes = figure.subplots(len(pictures), len(names) + 1, squeeze=False)
        for row, picture in enumerate(pictures):
            seen = seen_array(picture, self.model)
            axes[row, 0].imshow(seen)
            axes[row, 0].set(xticks=[], yticks=[])
            first = by_place[picture, names[0]]
            label = self.model.labels[first.target]
            axes[row, 0].set_title(
                f"{picture.name}\n{label}: {self.model.head.unit} {first.logit:.2f}{_chance(first.probability)}",
                fontsize=7,
            )
            for column, name in enumerate(names, 1):
                entry, axis = by_place[picture, name], axes[row, column]
                scale = entry.scale
                if entry.verdict:
                    axis.axis("off")
                    axis.text(0.5, 0.5, entry.verdict, ha="center", va="center", fontsize=7, wrap=True)
                else:
                    figures.draw_map(axis, entry.values, scale, seen)
                axis.set_title(f"{name}\n{scale}", fontsize=7)
        return figure

    def to_json(self) -> dict[str, Any]:
        """Return targets, ranges and verdicts."""
        rows = [
            {
                "picture": entry.picture.name,
                "method": entry.method,
                "target": self.model.labels[entry.target],
                "logit": entry.logit,
                "probability": entry.probability,
                "low": float(entry.values.min()),
                "high": float(entry.values.max()),
                "grid": list(entry.values.shape),
                "verdict": entry.verdict,
            }
            for entry in self.entries
        ]
        return {
            "model": self.model.name,
            "layer": self.layer,
            "why": self.why,
            "heatmaps": rows,
            "skipped": list(self.skipped),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the raw values as `METHOD/NUMBER`."""
        counts: dict[str, int] = {}
        named = {}
        for entry in self.entries:
            number = counts[entry.method] = counts.get(entry.method, -1) + 1
            named[f"{entry.method}/{number}"] = entry.values
        return named

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def explain(
    model: Model,
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture",
    target: int | str | None = None,
    methods: Sequence[str] = ("gradcam", "saliency"),
    *,
    layer: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Heatmaps:
    """Return how much each place counts for a class, raw and signed.

    target : a class for all pictures; by default each picture's own predicted class. methods : names of the registry.
    layer : where class activation maps are read; by default the last layer with a grid, and the result says so.
    options : keyword arguments per method. Raises InnersightError for unknown classes, methods, layers and options.
    """
    loaded, skipped = read_pictures(pictures, model.input)
    if not methods:
        raise InnersightError("no heatmap method named; see `innersight methods`")
    chosen = {name: registry[name] for name in dict.fromkeys(methods)}
    unused = set(options or {}) - set(chosen)
    if unused:
        raise InnersightError(f"options for {sorted(unused)[0]}, but only {', '.join(chosen)} was asked for")
    texts = {name: {k: str(v) for k, v in given.items()} for name, given in (options or {}).items()}
    parsed = {name: registry.parse(name, texts.get(name, {})) for name in chosen}
    if layer is not None:
        check_layers(model, [layer])
    name, why = (layer, "as asked") if layer is not None else last_grid(model)
    x = stack(loaded, model.input)
    logits = run(model, x)
    probabilities = model.probabilities(logits)
    fixed = None if target is None else model.class_index(target)
    targets = logits.argmax(1) if fixed is None else torch.full((len(x),), fixed)
    values = {method: _ask(model, x, targets, name, chosen[method], parsed[method]) for method in chosen}
    entries = tuple(
        Heatmap(
            picture,
            method,
            int(targets[i]),
            float(logits[i, targets[i]]),
            float(probabilities[i, targets[i]]) if model.has_probabilities else None,
            values[method][i],
            _verdict(values[method][i], method),
        )
        for i, picture in enumerate(loaded)
        for method in chosen
    )
    return Heatmaps(model, entries, name, why, skipped)


def _ask(model: Model, x: Tensor, targets: Tensor, layer: str, method: Any, options: Mapping[str, Any]) -> Tensor:
    parts = []
    with tap.untouched(model):
        for batch, classes in zip(torch.split(x, BATCH), torch.split(targets, BATCH), strict=True):
            request = Request(model, batch.to(model.device, model.dtype), classes.to(model.device), layer)
            parts.append(method(request, **options).detach().float().cpu())
    return torch.cat(parts)


def _chance(probability: float | None) -> str:
    return "" if probability is None else f", p {probability:.2f}"


def _verdict(values: Tensor, method: str) -> str | None:
    if not torch.isfinite(values).all():
        return f"{method} gave values that are not numbers: the network's gradient overflows here."
    if not values.any():
        return f"{method} finds no evidence: the class does not depend on any place of this layer."
    return None
