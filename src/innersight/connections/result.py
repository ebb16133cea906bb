"""What `connections` returns: links of units to the layers beside them, ranked."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from innersight.connections.link import CLASSES, DEFINITION, Link
from innersight.errors import InnersightError
from innersight.inputs import ImageEntry
from innersight.model import Model
from innersight.result import Result
from innersight.statistics import bootstrap


@dataclass(frozen=True, eq=False, repr=False)
class Connections(Result):
    """The connections of units of one layer.

    Attributes
    ----------
    model : Model
        The network.
    layer : str
        Name of the layer.
    units : tuple of int
        Those asked for, in the order of the rows of every link.
    images : tuple of str
        Names of the images that attributions are averaged over; empty without.
    response : str
        "mean" or "peak" of the target unit's map.
    links : tuple of Link
        By attribution first.
    notes : tuple of str
        Why a link is missing.
    skipped : tuple of str
        One sentence for each file that could not be read.
    best : tuple of ImageEntry
        For each unit the image with the highest peak; empty without images.

    """

    model: Model
    layer: str
    units: tuple[int, ...]
    images: tuple[str, ...]
    response: str
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    best: tuple[ImageEntry, ...] = ()

    def rank(self, link: Link, unit: int, limit: int | None = 10) -> list[dict[str, Any]]:
        """Return the strongest connections of a unit.

        Parameters
        ----------
        link
            One of `links`.
        unit
            One of `units`.
        limit
            At most this many; all when None. Connections of size 0 are left out.

        Returns
        -------
        list of dict
            unit, address, value, size, share (0 to 1), and interval (95%; None for weights and for a single image),
            largest size first.

        Raises
        ------
        InnersightError
            For a unit that was not asked for.

        """
        if unit not in self.units:
            raise InnersightError(f"unit {unit} of {self.layer} was not asked for: ask for {self.layer}:{unit}")
        row = self.units.index(unit)
        size, value = link.size[row].double(), link.value[row].double()
        total = float(size.sum())
        order = size.argsort(descending=True, stable=True).tolist()
        return [
            {
                "unit": other,
                "address": self._address(link, other),
                "value": float(value[other]),
                "size": float(size[other]),
                "share": float(size[other]) / total,
                "interval": self._interval(link, row, other),
            }
            for other in order[:limit]
            if float(size[other]) > 0
        ]

    def _address(self, link: Link, other: int) -> str:
        return f"{link.layer}:{self.model.labels[other] if link.layer == CLASSES else other}"

    def _interval(self, link: Link, row: int, other: int) -> list[float] | None:
        found = None if link.samples is None else bootstrap(link.samples[:, row, other].double().numpy())
        return None if found is None else list(found)

    def to_json(self) -> dict[str, Any]:
        """Return the 20 strongest connections of every unit in every link, with the definition."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "response": self.response,
            "images": list(self.images),
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "links": [
                {
                    "direction": link.direction,
                    "by": link.by,
                    "layer": link.layer,
                    "weights_of": link.made_by or None,
                    "batch_norm_folded": link.folded,
                    "units": {str(unit): self.rank(link, unit, 20) for unit in self.units},
                }
                for link in self.links
            ],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return value, size and samples of every link, as `value.in.attribution.LAYER` and so on."""
        found: dict[str, Tensor] = {}
        for link in self.links:
            name = f"{link.direction}.{link.by}.{link.layer}"
            found |= {f"value.{name}": link.value, f"size.{name}": link.size}
            found |= {} if link.samples is None else {f"samples.{name}": link.samples}
        return found
