"""Heatmaps laid over their images."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from innersight.activations import seen_array
from innersight.errors import InnersightError, nearest
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.model import Model
from innersight.render.colour import Scale
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 6
FINE = 28
"""Cells of a side, at most, whose contours are drawn: those of finer maps would cross everywhere."""


@figures.register("Heatmaps")
def heatmaps(result: Heatmaps, *, view: str = "cells", top: float = 0.2) -> "Figure":
    """Draw one row per image: the image, then each method laid over it, with its scale and unit.

    Parameters
    ----------
    result
        What is drawn.
    view
        "cells" as they were measured, "smooth" between them, "contours" at a quarter, a half and three quarters of the
        largest value, or "top": the image where the map is highest, the rest dark.
    top
        Share of the cells that "top" shows, above 0 and at most 1.

    """
    if view not in VIEWS:
        raise InnersightError(f"view={view!r}; {nearest(view, VIEWS)}")
    if not 0 < top <= 1:
        raise InnersightError(f"top={top}: give a share of the cells, above 0 and at most 1")
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
                VIEWS[view](axis, entry.values, scale, seen, top)
            where = f" at {layer}" if layer is not None and len(result.layers) > 1 else ""
            axis.set_title(f"{method}{where}\n{scale}\n{entry.unit}", fontsize=7)
    return figure


def _cells(axis: Any, values: Tensor, scale: Scale, seen: np.ndarray, top: float) -> None:
    draw_map(axis, values, scale, seen)


def _smooth(axis: Any, values: Tensor, scale: Scale, seen: np.ndarray, top: float) -> None:
    draw_map(axis, values, scale, seen, interpolation="bilinear")


def _contours(axis: Any, values: Tensor, scale: Scale, seen: np.ndarray, top: float) -> None:
    axis.imshow(seen)
    size = min(FINE, values.shape[0]), min(FINE, values.shape[1])
    coarse = F.adaptive_avg_pool2d(values[None, None].double(), size)
    lines = F.interpolate(coarse, seen.shape[:2], mode="bilinear")[0, 0].numpy()
    high = float(coarse.abs().max())
    levels = [level * high for level in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)]
    within = [level for level in levels if lines.min() < level < lines.max()]
    if within:
        colours = ["#2b62d9" if level < 0 else "#e0252b" for level in within]
        axis.contour(lines, within, colors=colours, linewidths=1, linestyles="solid")
    axis.set(xticks=[], yticks=[])


def _top(axis: Any, values: Tensor, scale: Scale, seen: np.ndarray, top: float) -> None:
    flat = values.flatten()
    least = flat.sort(descending=True).values[max(0, round(top * flat.numel()) - 1)]
    shown = (values >= least) & (values > flat.min())
    height, width = seen.shape[:2]
    shade = np.zeros((*values.shape, 4))
    shade[..., 3] = np.where(shown.numpy(), 0, 0.8)
    axis.imshow(seen, extent=(0, width, height, 0))
    axis.imshow(shade, interpolation="nearest", extent=(0, width, height, 0))
    axis.set(xticks=[], yticks=[])


VIEWS = {"cells": _cells, "smooth": _smooth, "contours": _contours, "top": _top}


def _caption(model: Model, entry: Heatmap) -> str:
    if entry.target is None:
        return f"{entry.question}: {entry.score:.3g}"
    chance = "" if entry.probability is None else f", p {entry.probability:.2f}"
    versus = "" if entry.rival is None else f" minus {model.labels[entry.rival]}: {entry.score:.3g}"
    doubt = f"{chr(10)}{textwrap.fill(entry.doubt, 42)}" if entry.doubt else ""
    return (
        f"{model.labels[entry.target]}: {model.head.unit} {entry.logit:.3g}{chance}{versus and chr(10) + versus}{doubt}"
    )
