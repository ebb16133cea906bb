"""What `match` returns: for every layer which unit became which."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from innersight.brief import brief
from innersight.errors import InnersightError, nearest
from innersight.model import Model
from innersight.result import Result

SAME, MOVED, BORN, DIED, SILENT = "same", "moved", "born", "died", "silent"
DEFINITION = (
    "Correlation: of two units' maps over all locations of all images. Threshold (chance): 95% of the units after have "
    "no partner above it when the maps before are those of other images. same: the unit's partner before has the same "
    "number. moved: its partner has another number. born: it is active, and has no partner before above the threshold. "
    "died: a unit before that was active and has no partner after. silent: constant after, and constant before as well "
    "or matched to another unit. Interval: 95%, jackknife over groups of images. cka: linear centred kernel alignment "
    "of the layer as a whole, 0 to 1."
)


@dataclass(frozen=True, eq=False)
class LayerMatch:
    """The units of one layer, before and after.

    Attributes
    ----------
    layer : str
        Name of the layer.
    correlation : Tensor
        (before, after) float32, -1 to 1.
    partner : Tensor
        (units,) the number of each unit's predecessor, -1 for none.
    best : Tensor
        (units,) the correlation with it, or the highest with any unit where there is none.
    interval : Tensor
        (2, units), the ends of its 95% interval.
    threshold : float
        Correlations above it are beyond chance.
    silent : Tensor
        (2, units) bool, before and after: whether a unit is constant.
    cka : float
        Centred kernel alignment of the layer as a whole, 0 to 1.

    """

    layer: str
    correlation: Tensor
    partner: Tensor
    best: Tensor
    interval: Tensor
    threshold: float
    silent: Tensor
    cka: float

    __repr__ = brief

    def verdict(self, unit: int) -> str:
        """Return what became of a unit after.

        Parameters
        ----------
        unit
            Its number after.

        Returns
        -------
        str
            "same", "moved", "born", "died" (silent now, with no successor) or "silent"; see `DEFINITION`.

        """
        if bool(self.silent[1, unit]):
            return DIED if unit in self.died() else SILENT
        partner = int(self.partner[unit])
        return BORN if partner < 0 else SAME if partner == unit else MOVED

    def died(self) -> list[int]:
        """Return the units before that were active and have no successor."""
        gone = torch.ones(len(self.partner), dtype=torch.bool)
        gone[self.partner[self.partner >= 0]] = False
        return (gone & ~self.silent[0]).nonzero()[:, 0].tolist()

    def counts(self) -> dict[str, int]:
        """Return the number of units with each verdict.

        Returns
        -------
        dict
            same, moved, born and silent count units after, died counts units before.

        """
        verdicts = [self.verdict(unit) for unit in range(len(self.partner))]
        return {
            kind: len(self.died()) if kind == DIED else verdicts.count(kind)
            for kind in (SAME, MOVED, BORN, DIED, SILENT)
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return every unit after as a plain row.

        Returns
        -------
        list of dict
            unit, address, verdict, before (number of its predecessor or None), correlation with it, interval (95%), and
            own: the correlation with the unit of the same number.

        """
        return [
            {
                "unit": unit,
                "address": f"{self.layer}:{unit}",
                "verdict": self.verdict(unit),
                "before": partner if partner >= 0 else None,
                "correlation": float(self.best[unit]),
                "interval": self.interval[:, unit].tolist(),
                "own": float(self.correlation[unit, unit]),
            }
            for unit, partner in enumerate(self.partner.tolist())
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Matching(Result):
    """Two checkpoints of one network, unit by unit.

    Attributes
    ----------
    before : Model
        The earlier checkpoint.
    after : Model
        The later one.
    images : int
        How many were shown to both.
    layers : dict of str to LayerMatch
        By name.
    notes : tuple of str
        How the images were understood.
    skipped : tuple of str
        One sentence for each file that could not be read.

    """

    before: Model
    after: Model
    images: int
    layers: dict[str, LayerMatch]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __getitem__(self, layer: str) -> LayerMatch:
        if layer not in self.layers:
            raise InnersightError(f"{layer} was not matched; {nearest(layer, self.layers)}")
        return self.layers[layer]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return for each layer the counts, the median correlation of partners, the threshold and cka.

        Returns
        -------
        dict
            By layer; median is None where no unit has a partner.

        """
        rows = {}
        for name, layer in self.layers.items():
            paired = layer.best[layer.partner >= 0]
            middle = float(paired.median()) if len(paired) else None
            rows[name] = {
                "units": len(layer.partner), **layer.counts(),
                "median": middle, "threshold": layer.threshold, "cka": layer.cka,
            }  # fmt: skip
        return rows

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
                name: {**row, "units": self.layers[name].rows(), "died": self.layers[name].died()}
                for name, row in self.summary().items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return correlations, partners and intervals, as `correlation.LAYER` and so on."""
        kinds = ("correlation", "partner", "best", "interval", "silent")
        return {f"{kind}.{name}": getattr(layer, kind) for name, layer in self.layers.items() for kind in kinds}
