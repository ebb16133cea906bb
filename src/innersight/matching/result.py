"""What `match` returns: for every layer which unit is whose successor, and what became of the others."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, nearest
from innersight.matching.figure import draw
from innersight.model import Model
from innersight.render import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAME, MOVED, BORN, DIED, SILENT = "same", "moved", "born", "died", "silent"
DEFINITION = (
    "Correlation: of two units' maps over all places of all images. Threshold: 95% of the units after have no "
    "partner above it when the maps before are those of other images. same: the unit's partner before has its "
    "number. moved: it has another. born: it answers, and no unit before is its partner above the threshold. died: a "
    "unit before that answered and is no one's partner after. silent: it never varies after, and did not before "
    "either, or what it was is another unit now. "
    "Interval: 95%, jackknife over groups of images. cka: linear centred kernel alignment of the layer as a whole, 0 "
    "to 1."
)


@dataclass(frozen=True, eq=False)
class LayerMatch:
    """The units of one layer, before and after.

    correlation : (before, after) float32. partner : (units,) of each unit after, the number of its predecessor, -1 for
    none. found : (units,) the correlation with it, or the highest there is where there is none; interval : (2, units).
    threshold : what is beyond chance. silent : (2, units), before and after, whether a unit never varied. cka : 0 to 1.
    """

    layer: str
    correlation: Tensor
    partner: Tensor
    found: Tensor
    interval: Tensor
    threshold: float
    silent: Tensor
    cka: float

    __repr__ = brief

    def verdict(self, unit: int) -> str:
        """Say what a unit after is: same, moved, born, died (silent now, and what it was is nowhere) or silent."""
        if bool(self.silent[1, unit]):
            return DIED if unit in self.died() else SILENT
        partner = int(self.partner[unit])
        return BORN if partner < 0 else SAME if partner == unit else MOVED

    def died(self) -> list[int]:
        """Return the units before that answered and have no successor."""
        gone = torch.ones(len(self.partner), dtype=torch.bool)
        gone[self.partner[self.partner >= 0]] = False
        return (gone & ~self.silent[0]).nonzero()[:, 0].tolist()

    def counts(self) -> dict[str, int]:
        """Return how many units after are same, moved, born, how many before died, and how many are silent."""
        verdicts = [self.verdict(unit) for unit in range(len(self.partner))]
        return {
            kind: len(self.died()) if kind == DIED else verdicts.count(kind)
            for kind in (SAME, MOVED, BORN, DIED, SILENT)
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return every unit after as a plain row."""
        return [
            {
                "unit": unit,
                "address": f"{self.layer}:{unit}",
                "verdict": self.verdict(unit),
                "before": partner if partner >= 0 else None,
                "correlation": float(self.found[unit]),
                "interval": self.interval[:, unit].tolist(),
                "own": float(self.correlation[unit, unit]),
            }
            for unit, partner in enumerate(self.partner.tolist())
        ]


@dataclass(frozen=True, eq=False)
class Matching:
    """Two checkpoints of one network, unit by unit.

    images : how many were shown to both. layers : by name. notes : what to know about the comparison. skipped : one
    sentence for each file that could not be read.
    """

    before: Model
    after: Model
    images: int
    layers: dict[str, LayerMatch]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    __repr__ = brief

    def __getitem__(self, layer: str) -> LayerMatch:
        if layer not in self.layers:
            raise InnersightError(f"{layer} was not matched; {nearest(layer, self.layers)}")
        return self.layers[layer]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return for each layer the counts, the median correlation of partners, the threshold and cka."""
        told = {}
        for name, layer in self.layers.items():
            paired = layer.found[layer.partner >= 0]
            middle = float(paired.median()) if len(paired) else None
            told[name] = {
                "units": len(layer.partner), **layer.counts(),
                "median": middle, "threshold": layer.threshold, "cka": layer.cka,
            }  # fmt: skip
        return told

    def figure(self) -> "Figure":
        """Draw for each layer what became of its units, and every unit's correlation with its partner, sorted."""
        return draw(self)

    def to_json(self) -> dict[str, Any]:
        """Return every unit of every layer, with the definition."""
        return {
            "before": self.before.source,
            "after": self.after.source,
            "images": self.images,
            "notes": list(self.notes),
            "skipped": list(self.skipped),
            "definition": DEFINITION,
            "layers": {
                name: {**told, "units": self.layers[name].rows(), "died": self.layers[name].died()}
                for name, told in self.summary().items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return correlations, partners and intervals, as `correlation.LAYER` and so on."""
        kinds = ("correlation", "partner", "found", "interval", "silent")
        return {f"{kind}.{name}": getattr(layer, kind) for name, layer in self.layers.items() for kind in kinds}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())
