"""Units found for a region."""

from typing import TYPE_CHECKING, Any

from innersight.activations import seen_array
from innersight.find import WHOLE, Query, UnitRanking
from innersight.input_spec import InputSpec
from innersight.render.colour import scale_of
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register("Units that respond to a region")
def unit_ranking(found: UnitRanking, *, limit: int = 8) -> "Figure":
    """Draw the best units as columns over up to 6 images, the boxes outlined; each unit on one scale.

    Parameters
    ----------
    limit
        At most this many units.

    """
    best, shown = found.order[:limit], found.shown
    figure = new_figure(max(5.0, (len(best) + 1) * 1.3), len(shown) * 1.32 + 0.7)
    rest = len(found.queries) + len(found.context) - len(shown)
    more = f"; {rest} more images not shown" if rest else ""
    title = f"Units that respond to the region (solid box; dashed: not this), best first{more}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(len(shown), len(best) + 1, squeeze=False)
    for row, query in enumerate(shown):
        seen = seen_array(query.image, found.model)
        axes[row, 0].imshow(seen)
        axes[row, 0].set(xticks=[], yticks=[])
        axes[row, 0].set_title(query.image.name, fontsize=6, pad=2)
        for column, (layer, unit) in enumerate(best, 1):
            values = found.maps[layer][:, unit]
            draw_map(axes[row, column], values[row], scale_of(values), seen)
            if row == 0:
                score = float(found.score[layer][unit])
                axes[row, column].set_title(f"{layer}:{unit}\n{score:.2f}", fontsize=7, pad=2)
        for axis in axes[row]:
            _outline(axis, query, found.model.input)
    return figure


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
