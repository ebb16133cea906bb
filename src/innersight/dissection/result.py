"""What a dissection found: for every unit and part an overlap, and for every unit a label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.brief import brief
from innersight.dissection.masked import MaskSource
from innersight.errors import InnersightError, nearest
from innersight.inputs import ImageEntry
from innersight.model import Model
from innersight.result import Result

DEFINITION = (
    "Overlap: intersection over union of where the unit responds and where the part is, summed over all images. A unit "
    "responds where its map, interpolated bilinearly to the masks, is above the threshold that the stated share of the "
    "locations of its own maps exceed. Interval: 95%, bootstrapped over images. p: how often shuffling the masks among "
    "images gives any unit of the layers with any part a standardized overlap as high. Label: the part of highest "
    "overlap among those above the minimum overlap and with p below alpha."
)


@dataclass(frozen=True, eq=False)
class LayerDissection:
    """The units of one layer.

    Attributes
    ----------
    grid
        (h, w) of its maps.
    threshold
        (units,) above which each unit responds, raw.
    share
        (units,) share of the locations above it.
    area
        (units,) share of the images' pixels at which the unit responds.
    overlap
        (units, parts) 0 to 1, with its interval from `low` to `high`.
    low
        See `overlap`.
    high
        See `overlap`.
    p
        (units, parts) corrected p-values; NaN for pairs whose areas do not allow a label.
    shown
        (units, shown) numbers of the images on which each unit responds most, -1 for none.

    """

    grid: tuple[int, int]
    threshold: Float[Tensor, " units"]
    share: Float[Tensor, " units"]
    area: Float[Tensor, " units"]
    overlap: Float[Tensor, "units parts"]
    low: Float[Tensor, "units parts"]
    high: Float[Tensor, "units parts"]
    p: Float[Tensor, "units parts"]
    shown: Int[Tensor, "units shown"]

    __repr__ = brief

    def labels(self, min_overlap: float, alpha: float) -> Int[Tensor, " units"]:
        """Return the number of each unit's part.

        Parameters
        ----------
        min_overlap
            Overlap above which a part can be a label, 0 to 1.
        alpha
            p-value below which it can.

        Returns
        -------
        torch.Tensor
            (units,) int64, -1 for no part.

        """
        fit = (self.overlap > min_overlap) & (self.p < alpha)
        best = self.overlap.masked_fill(~fit, -1).max(1)
        return best.indices.masked_fill(best.values < 0, -1)


@dataclass(frozen=True, eq=False, repr=False)
class Dissection(Result):
    """How much every unit of the dissected layers overlaps with every part.

    Attributes
    ----------
    model
        The network.
    parts
        Names, in the order of all that is by part.
    layers
        By name.
    area
        (parts,) share of all pixels, 0 to 1.
    records
        The images in `shown`, by number.
    images
        How many were read.
    sampled
        How many of them the test shuffled.
    quantile, min_overlap, alpha
        As given, see `innersight.dissect`.
    grid
        (h, w) in which overlaps were counted.
    source
        Where the masks came from.
    skipped
        One sentence for each image left out.
    notes
        What a reader must know.

    """

    model: Model
    parts: tuple[str, ...]
    layers: dict[str, LayerDissection]
    area: Float[Tensor, " parts"]
    records: Mapping[int, ImageEntry]
    images: int
    sampled: int
    quantile: float
    min_overlap: float
    alpha: float
    grid: tuple[int, int]
    source: MaskSource = field(repr=False)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    measure = "overlap"

    @cached_property
    def _labels(self) -> dict[str, list[int]]:
        return {name: layer.labels(self.min_overlap, self.alpha).tolist() for name, layer in self.layers.items()}

    def label(self, layer: str, unit: int) -> str | None:
        """Return the part that labels a unit.

        Parameters
        ----------
        layer
            Name of the layer.
        unit
            Number of the unit.

        Returns
        -------
        str or None
            None for no part.

        Raises
        ------
        InnersightError
            For an unknown layer or unit.

        """
        self._layer(layer, unit)
        number = self._labels[layer][unit]
        return None if number < 0 else self.parts[number]

    def rank(self, part: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the units of highest overlap with a part, those that it labels first.

        Parameters
        ----------
        part
            Name of the part; each unit's own best part when None.
        limit
            At most this many; all when None.

        Returns
        -------
        list of dict
            As `row` returns them.

        Raises
        ------
        InnersightError
            For an unknown part.

        """
        if part is not None and part not in self.parts:
            raise InnersightError(f"no part {part!r}; {nearest(part, self.parts)}")
        rows = [
            self.row(name, unit, part) for name, layer in self.layers.items() for unit in range(len(layer.threshold))
        ]
        # Labelled units first: an overlap that shuffled masks reach too means nothing.
        rows.sort(key=lambda row: (row["label"] != row["part"], -row["overlap"]))
        return rows[:limit]

    def row(self, layer: str, unit: int, part: str | None = None) -> dict[str, Any]:
        """Return one unit with its overlap as plain data.

        Parameters
        ----------
        layer
            Name of the layer.
        unit
            Number of the unit.
        part
            Name of the part; the unit's label, or else its best part, when None.

        Returns
        -------
        dict
            layer, unit, address, label (None for no part), part, overlap (0 to 1), its interval (95%), and p, which is
            None where the areas do not allow a label.

        Raises
        ------
        InnersightError
            For an unknown layer or unit.

        """
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

    def to_json(self) -> dict[str, Any]:
        """Return every unit with its label and its overlap with every part, and the definition."""
        return {
            "model": self.model.name,
            "images": self.images,
            "shuffled": self.sampled,
            "quantile": self.quantile,
            "min_overlap": self.min_overlap,
            "alpha": self.alpha,
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
                    for unit in range(len(layer.threshold))
                ]
                for name, layer in self.layers.items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return threshold, share, area, overlap, low, high, p and label by `KIND.LAYER`, and the parts' `area`."""
        kinds = ("threshold", "share", "area", "overlap", "low", "high", "p")
        found = {f"{kind}.{name}": getattr(layer, kind) for name, layer in self.layers.items() for kind in kinds}
        labels = {f"label.{name}": torch.tensor(own) for name, own in self._labels.items()}
        return {"area": self.area, **found, **labels}

    def _layer(self, name: str, unit: int) -> LayerDissection:
        if name not in self.layers:
            raise InnersightError(f"layer {name!r} was not dissected; {nearest(name, self.layers)}")
        if not 0 <= unit < len(self.layers[name].threshold):
            raise InnersightError(f"{name} has units 0-{len(self.layers[name].threshold) - 1}, not {unit}")
        return self.layers[name]
