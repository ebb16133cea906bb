"""What `find` returns: units of several layers, ranked by how well they answer to a region."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight.activations import seen_array
from innersight.brief import brief
from innersight.find.regions import WHOLE, Query
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.render import figures
from innersight.render.colour import scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
DEFINITION = (
    "Score: the geometric mean of share, share again, and fit. Share: of the unit's strongest places over all "
    "images, how many lie in the region, relative to how many could; as many places as 5% of the images that "
    "show the region, with the maps of all layers brought to the finest grid. A place counts by its colour (one of "
    "16x16x16): by the square of the share of that colour's pixels in the image that lie in the region (unless "
    "colours are not asked for). Fit: of every row and column of "
    "such an image the unit's highest place is taken; the average precision with which these tell the rows and "
    "columns that the region reaches from the others (geometric mean of both, averaged over the images): a box "
    "is drawn tightly round a thing, so the thing reaches its sides."
)


@dataclass(frozen=True, eq=False)
class Finding:
    """Units of several layers, ranked by how well they answer to a region.

    queries : the images asked about, those with the region first. context : names of those that do not show it.
    shown : the first 6 of all. maps : per layer (images, units, h, w) float32, of these.
    order : (layer, unit), best first. score, share, fit : per layer (units,) in 0..1; `DEFINITION` defines them.
    area : the region's share of the images that show it, 0..1. skipped : one sentence for each file not read.
    notes : how the images were understood.
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

    __repr__ = brief

    def reason(self, layer: str, unit: int) -> str:
        """Say in one sentence why the unit ranks where it does."""
        share, fit = float(self.share[layer][unit]), float(self.fit[layer][unit])
        return (
            f"its strongest places hold {share:.0%} of what they could of the thing (region: {self.area:.0%} of the "
            f"area), and reach its sides to {fit:.2f}"
        )

    def rank(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the best `count` units (all when None) as plain rows, best first."""
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
            for layer, unit in self.order[:count]
        ]

    def figure(self, *, count: int = 8) -> "Figure":
        """Draw the best units as columns over up to 6 images, the boxes outlined; each unit on one scale."""
        best, shown = self.order[:count], self.shown
        figure = figures.new_figure(max(5.0, (len(best) + 1) * 1.3), len(shown) * 1.32 + 0.7)
        rest = len(self.queries) + len(self.context) - len(shown)
        more = f"; {rest} more images not shown" if rest else ""
        title = f"The units that answer to the region (solid; dashed: not this), best first{more}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        axes = figure.subplots(len(shown), len(best) + 1, squeeze=False)
        for row, query in enumerate(shown):
            seen = seen_array(query.image, self.model)
            axes[row, 0].imshow(seen)
            axes[row, 0].set(xticks=[], yticks=[])
            axes[row, 0].set_title(query.image.name, fontsize=6, pad=2)
            for column, (layer, unit) in enumerate(best, 1):
                values = self.maps[layer][:, unit]
                figures.draw_map(axes[row, column], values[row], scale_of(values), seen)
                if row == 0:
                    score = float(self.score[layer][unit])
                    axes[row, column].set_title(f"{layer}:{unit}\n{score:.2f}", fontsize=7, pad=2)
            for axis in axes[row]:
                _outline(axis, query, self.model.input)
        return figure

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

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def _outline(axis: Any, query: Query, spec: InputSpec) -> None:
    """Draw the boxes over what the network sees; whole images have none."""
    from matplotlib.patches import Rectangle

    seen = query.image.box(spec)
    for boxes, style in ((query.like, "-"), (query.but_not, "--")):
        for box in boxes:
            if box == WHOLE:
                continue
            left = (box.x0 * query.image.width - seen.left) / seen.width * spec.width
            top = (box.y0 * query.image.height - seen.top) / seen.height * spec.height
            width = (box.x1 - box.x0) * query.image.width / seen.width * spec.width
            height = (box.y1 - box.y0) * query.image.height / seen.height * spec.height
            for colour, thick in (("black", 2.2), ("#ffd43b", 1.1)):
                edge = Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=thick, ls=style)
                axis.add_patch(edge)
