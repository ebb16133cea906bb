"""What a dissection found: for every unit and part an overlap, and for every unit a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.brief import brief
from innersight.dissection.masked import Source
from innersight.errors import InnersightError, nearest
from innersight.inputs import ImageEntry
from innersight.model import Model
from innersight.render import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFINITION = (
    "Overlap: intersection over union of where the unit answers and where the part is, summed over all images. "
    "A unit answers where its map, brought bilinearly to the masks, is above the level that the stated share of the "
    "places of its own maps exceed. Interval: 95%, bootstrapped over images. p: how often shuffling the masks among "
    "images gives any unit of the layer with any part a standardised overlap as high. Label: the part of highest "
    "overlap among those above the least overlap and below the level of p."
)


@dataclass(frozen=True, eq=False)
class Dissected:
    """The units of one layer.

    grid : (h, w) of its maps. level : above which each unit answers, raw. share : of the places above it.
    area : share of the images' places at which the unit answers, between places too. overlap : 0 to 1, with its
    interval low to high. p : corrected; NaN for pairs that no overlap could bring a label. shown : numbers of the
    images on which each unit answers most, -1 for none.
    """

    grid: tuple[int, int]
    level: Float[Tensor, " units"]
    share: Float[Tensor, " units"]
    area: Float[Tensor, " units"]
    overlap: Float[Tensor, "units parts"]
    low: Float[Tensor, "units parts"]
    high: Float[Tensor, "units parts"]
    p: Float[Tensor, "units parts"]
    shown: Int[Tensor, "units shown"]

    __repr__ = brief

    def labels(self, least: float, level: float) -> Int[Tensor, " units"]:
        """Return the number of each unit's part, -1 for no part."""
        fit = (self.overlap > least) & (self.p < level)
        best = self.overlap.masked_fill(~fit, -1).max(1)
        return best.indices.masked_fill(best.values < 0, -1)


@dataclass(frozen=True, eq=False)
class Dissection:
    """For every unit of the layers dissected: how much it overlaps with every part.

    parts : names, in the order of all that is by part. layers : by name. area : (parts,) share of all places, 0 to 1.
    images : how many were seen; sampled : how many of them the test shuffled. top, least, level : as asked for, see
    `dissect`. grid : (h, w) that overlaps were counted in. records : the images in `shown`, by number.
    skipped : one sentence for each image left out. notes : what a reader must know.
    """

    model: Model
    parts: tuple[str, ...]
    layers: dict[str, Dissected]
    area: Float[Tensor, " parts"]
    records: Mapping[int, ImageEntry]
    images: int
    sampled: int
    top: float
    least: float
    level: float
    grid: tuple[int, int]
    source: Source = field(repr=False)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    measure = "overlap"

    __repr__ = brief

    @cached_property
    def _labels(self) -> dict[str, list[int]]:
        return {name: layer.labels(self.least, self.level).tolist() for name, layer in self.layers.items()}

    def label(self, layer: str, unit: int) -> str | None:
        """Return the part a unit stands for, None for no part. Raises InnersightError for an unknown layer or unit."""
        self._layer(layer, unit)
        number = self._labels[layer][unit]
        return None if number < 0 else self.parts[number]

    def rank(self, part: str | None = None, count: int | None = None) -> list[dict[str, Any]]:
        """Return the `count` units (all when None) of highest overlap with a part, or with their own best part.

        Plain rows; `p` is None where no overlap could bring a label. Raises InnersightError for an unknown part.
        """
        if part is not None and part not in self.parts:
            raise InnersightError(f"no part {part!r}; {nearest(part, self.parts)}")
        rows = [self.row(name, unit, part) for name, layer in self.layers.items() for unit in range(len(layer.level))]
        # Labelled units first: an overlap that shuffled masks reach too is worth nothing.
        rows.sort(key=lambda row: (row["label"] != row["part"], -row["overlap"]))
        return rows[:count]

    def row(self, layer: str, unit: int, part: str | None = None) -> dict[str, Any]:
        """Return one unit as plain data: its overlap with `part`, or with its label, or with its best part."""
        own = self._layer(layer, unit)
        label = self.label(layer, unit)
        named = part or label
        number = int(own.overlap[unit].argmax()) if named is None else self.parts.index(named)
        p = float(own.p[unit, number])
        return {
            "layer": layer,
            "unit": unit,
            "address": f"{layer}:{unit}",
            "label": label,
            "part": self.parts[number],
            "overlap": float(own.overlap[unit, number]),
            "interval": [float(own.low[unit, number]), float(own.high[unit, number])],
            "p": None if p != p else p,
        }

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return per layer its units, how many have a label, and how many have each."""
        found = {}
        for name, labels in self._labels.items():
            counts = {part: labels.count(i) for i, part in enumerate(self.parts)}
            found[name] = {
                "units": len(labels),
                "grid": list(self.layers[name].grid),
                "labelled": sum(counts.values()),
                "parts": {part: count for part, count in counts.items() if count},
            }
        return found

    def figure(self, layer: str | None = None, units: Sequence[int] | None = None, *, count: int = 6) -> "Figure":
        """Draw how many units of each layer stand for which part, and the best units of each with their images.

        With `layer` only its units: those named, or the `count` best of them. Beside each image with the part
        outlined is what the unit answers to. The images are read again. Raises InnersightError for a layer or unit
        that was not dissected.
        """
        from innersight.dissection.figure import draw

        for unit in units or ():
            self._layer(layer or "", unit)
        if layer is not None:
            self._layer(layer, 0)
        return draw(self, layer, units, count)

    def to_json(self) -> dict[str, Any]:
        """Return every unit with its label and its overlap with every part, and the definition."""
        return {
            "model": self.model.name,
            "images": self.images,
            "shuffled": self.sampled,
            "top": self.top,
            "least": self.least,
            "level": self.level,
            "grid": list(self.grid),
            "parts": {part: float(area) for part, area in zip(self.parts, self.area, strict=True)},
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "summary": self.summary(),
            "layers": {
                name: [
                    {
                        **self.row(name, unit),
                        "overlaps": dict(zip(self.parts, layer.overlap[unit].tolist(), strict=True)),
                    }
                    for unit in range(len(layer.level))
                ]
                for name, layer in self.layers.items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return level, share, area, overlap, low, high, p and label by `KIND.LAYER`, and the parts' `area`."""
        kinds = ("level", "share", "area", "overlap", "low", "high", "p")
        found = {f"{kind}.{name}": getattr(layer, kind) for name, layer in self.layers.items() for kind in kinds}
        labels = {f"label.{name}": torch.tensor(own) for name, own in self._labels.items()}
        return {"area": self.area, **found, **labels}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())

    def _layer(self, name: str, unit: int) -> Dissected:
        if name not in self.layers:
            raise InnersightError(f"layer {name!r} was not dissected; {nearest(name, self.layers)}")
        if not 0 <= unit < len(self.layers[name].level):
            raise InnersightError(f"{name} has units 0-{len(self.layers[name].level) - 1}, not {unit}")
        return self.layers[name]
