"""What `connections` returns: links of units to the layers beside them, ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight.brief import brief
from innersight.connections.figure import draw
from innersight.connections.link import CLASSES, DEFINITION, Link
from innersight.errors import InnersightError
from innersight.inputs import ImageEntry
from innersight.model import Model
from innersight.render import figures
from innersight.statistics import bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Connections:
    """The connections of units of one layer.

    units : those asked for, in the order of the rows of every link. images : names of those over which attributions
    are; none without. of : "mean" or "peak" of the driven unit's map. links : by attribution first. notes : why a link
    is missing. skipped : one sentence for each file that could not be read. best : for each of the units the image
    with the highest place of its map, where there are any.
    """

    model: Model
    layer: str
    units: tuple[int, ...]
    images: tuple[str, ...]
    of: str
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    best: tuple[ImageEntry, ...] = ()

    __repr__ = brief

    def rank(self, link: Link, unit: int, count: int | None = 10) -> list[dict[str, Any]]:
        """Return the `count` strongest connections (all when None) of a unit in one of `links`, as plain rows.

        Connections of size 0 are left out. `interval` is None for weights and for a single image. Raises
        InnersightError for a unit that was not asked for.
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
            for other in order[:count]
            if float(size[other]) > 0
        ]

    def _address(self, link: Link, other: int) -> str:
        return f"{link.layer}:{self.model.labels[other] if link.layer == CLASSES else other}"

    def _interval(self, link: Link, row: int, other: int) -> list[float] | None:
        found = None if link.samples is None else bootstrap(link.samples[:, row, other].double().numpy())
        return None if found is None else list(found)

    def figure(self, *, count: int = 8, units: Sequence[int] | None = None) -> "Figure":
        """Draw each unit in the middle, what drives it at the left, what it drives at the right.

        Red excites, blue inhibits; the width of a line is its size beside the strongest on that side. With images,
        every unit's map is that on the image to which the unit in the middle answers most. units : up to four of
        those asked for when not given.
        """
        return draw(self, list(units or self.units[:4]), count)

    def to_json(self) -> dict[str, Any]:
        """Return the 20 strongest connections of every unit in every link, with the definition."""
        return {
            "model": self.model.name,
            "layer": self.layer,
            "of": self.of,
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

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())
