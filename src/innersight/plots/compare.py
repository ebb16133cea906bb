"""Units compared over several images."""

from typing import TYPE_CHECKING

from innersight.activations import seen_array
from innersight.compare import Comparison
from innersight.render.colour import scale_of
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figures.register("The same units over several images")
def comparison(found: Comparison, *, limit: int = 10) -> "Figure":
    """Draw the best units as columns, the images as rows, each unit on one scale over all images.

    Parameters
    ----------
    limit
        How many units.

    """
    units = list(found.order[:limit])
    figure = new_figure(len(units) * 1.0 + 1.1, len(found.images) * 1.12 + 0.6)
    figure.suptitle(f"{found.layer}: the units that see the same in all images, best first", fontsize=9)
    axes = figure.subplots(len(found.images), len(units) + 1, squeeze=False)
    for row, image in enumerate(found.images):
        seen = seen_array(image, found.model)
        axes[row, 0].imshow(seen)
        axes[row, 0].set(xticks=[], yticks=[])
        axes[row, 0].set_title(image.name, fontsize=6)
        for column, unit in enumerate(units, 1):
            scale = scale_of(found.maps[:, unit])
            draw_map(axes[row, column], found.maps[row, unit], scale, seen)
            if row == 0:
                axes[row, column].set_title(f"{unit}  {float(found.score[unit]):.2f}", fontsize=7)
    return figure
