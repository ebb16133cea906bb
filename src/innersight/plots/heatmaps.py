"""Heatmaps laid over their images."""

import textwrap
from typing import TYPE_CHECKING

from innersight.activations import seen_array
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.model import Model
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 6


@figures.register("Heatmaps")
def heatmaps(result: Heatmaps) -> "Figure":
    """Draw one row per image: the image, then each method laid over it, with its scale and unit."""
    images = list(dict.fromkeys(entry.image for entry in result.entries))
    columns = list(dict.fromkeys((entry.method, entry.layer) for entry in result.entries))
    by_key = {(entry.image, entry.method, entry.layer): entry for entry in result.entries}
    # Many methods: an image's row is wrapped.
    wide = min(COLUMNS, len(columns))
    lines = -(-len(columns) // wide)
    figure = new_figure(2.3 * (wide + 1), 2.9 * len(images) * lines + 0.3)
    figure.suptitle(f"{result.model.name}: {', '.join((*result.layers, result.why))}", fontsize=8)
    axes = figure.subplots(len(images) * lines, wide + 1, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, image in enumerate(images):
        seen = seen_array(image, result.model)
        own = axes[row * lines]
        own[0].imshow(seen)
        own[0].set_title(f"{image.name}\n{_caption(result.model, by_key[image, *columns[0]])}", fontsize=7)
        for number, (method, layer) in enumerate(columns):
            entry, axis = by_key[image, method, layer], axes[row * lines + number // wide, 1 + number % wide]
            scale = result.scale(entry)
            if entry.verdict:
                axis.set_box_aspect(seen.shape[0] / seen.shape[1])
                text = axis.text(0.5, 0.5, textwrap.fill(entry.verdict, 26), ha="center", va="center", fontsize=7)
                text.set_in_layout(False)
            else:
                draw_map(axis, entry.values, scale, seen)
            where = f" at {layer}" if layer is not None and len(result.layers) > 1 else ""
            axis.set_title(f"{method}{where}\n{scale}\n{entry.unit}", fontsize=7)
    return figure


def _caption(model: Model, entry: Heatmap) -> str:
    if entry.target is None:
        return f"{entry.question}: {entry.score:.3g}"
    chance = "" if entry.probability is None else f", p {entry.probability:.2f}"
    versus = "" if entry.rival is None else f" minus {model.labels[entry.rival]}: {entry.score:.3g}"
    doubt = f"{chr(10)}{textwrap.fill(entry.doubt, 42)}" if entry.doubt else ""
    return (
        f"{model.labels[entry.target]}: {model.head.unit} {entry.logit:.3g}{chance}{versus and chr(10) + versus}{doubt}"
    )
