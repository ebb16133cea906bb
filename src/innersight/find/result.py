"""What `find` returns: units of several layers, ranked by how well they respond to a region."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from innersight.find.regions import Query
from innersight.model import Model
from innersight.result import Result

SHOWN = 6
DEFINITION = (
    "Score: the geometric mean of share, share again, and fit. Share: the part of the unit's strongest locations over "
    "all images that lies in the region, relative to the largest part possible. As many locations are taken as make up "
    "5% of the images that show the region, with the maps of all layers resized to the finest grid. Unless colours are "
    "off, each location is weighted by its colour (one of 16x16x16): by the square of the share of that colour's "
    "pixels in the image that lie in the region. Fit: the peak of the map in every row and column of such an image is "
    "a score for whether the region reaches that row or column; fit is the average precision (geometric mean of rows "
    "and columns, averaged over the images), as a tight box is reached by the object on all sides."
)


@dataclass(frozen=True, eq=False, repr=False)
class UnitRanking(Result):
    """Units of several layers, ranked by how well they respond to a region.

    Attributes
    ----------
    model : Model
        The network.
    queries : tuple of Query
        The images asked about, those with the region first.
    maps : dict of str to Tensor
        Per layer (images, units, h, w) float32, of the images in `shown`.
    order : tuple of (str, int)
        (layer, unit), best first.
    score : dict of str to Tensor
        Per layer (units,), 0 to 1; `DEFINITION` defines it, `share` and `fit`.
    share : dict of str to Tensor
        Per layer (units,), 0 to 1.
    fit : dict of str to Tensor
        Per layer (units,), 0 to 1.
    area : float
        The region's share of the images that show it, 0 to 1.
    shown : tuple of Query
        The first 6 of all images.
    context : tuple of str
        Names of the images that do not show the region.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images were understood.

    """

    model: Model
    queries: tuple[Query, ...]
    maps: dict[str, Tensor]
    order: tuple[tuple[str, int], ...]
    score: dict[str, Tensor]
    share: dict[str, Tensor]
    fit: dict[str, Tensor]
    area: float
    shown: tuple[Query, ...] = ()
    context: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def reason(self, layer: str, unit: int) -> str:
        """Return in one sentence why a unit ranks where it does.

        Parameters
        ----------
        layer
            Name of the layer.
        unit
            Number of the unit.

        """
        share, fit = float(self.share[layer][unit]), float(self.fit[layer][unit])
        return (
            f"its strongest locations cover {share:.0%} of the region they could cover ({self.area:.0%} of the area), "
            f"fit to its sides {fit:.2f}"
        )

    def rank(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the best units as plain rows.

        Parameters
        ----------
        limit
            At most this many; all when None.

        Returns
        -------
        list of dict
            layer, unit, address, score, share, fit (0 to 1) and reason, best first.

        """
        return [
            {
                "layer": layer,
                "unit": unit,
                "address": f"{layer}:{unit}",
                "score": float(self.score[layer][unit]),
                "share": float(self.share[layer][unit]),
                "fit": float(self.fit[layer][unit]),
                "reason": self.reason(layer, unit),
            }
            for layer, unit in self.order[:limit]
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the whole ranking with its definition."""
        return {
            "model": self.model.name,
            "layers": list(self.maps),
            "images": [
                {
                    "name": query.image.name,
                    "like": [[box.x0, box.y0, box.x1, box.y1] for box in query.like],
                    "not": [[box.x0, box.y0, box.x1, box.y1] for box in query.but_not],
                }
                for query in self.queries
            ]
            + [{"name": name, "like": [], "not": [[0, 0, 1, 1]]} for name in self.context],
            "area": self.area,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "definition": DEFINITION,
            "rank": self.rank(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the maps and the scores, as `maps.LAYER`, `score.LAYER`, `share.LAYER` and `fit.LAYER`."""
        kinds = {"maps": self.maps, "score": self.score, "share": self.share, "fit": self.fit}
        return {f"{kind}.{layer}": value for kind, values in kinds.items() for layer, value in values.items()}
