"""Ablation: the units each class depends on."""

from typing import TYPE_CHECKING, Any

import numpy as np

from innersight.ablation import Ablation
from innersight.render.figures import new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, DOTS, ZERO = "#364fc7", "#adb5bd", "#868e96"


@figures.register("Units that classes depend on")
def ablation(found: Ablation, *, limit: int = 10) -> "Figure":
    """Draw for each class the units whose ablation lowers it most: mean, 95% interval, and every image as a dot.

    Filled: p below 0.05.

    Parameters
    ----------
    limit
        At most this many units for each class.

    """
    chosen = [found.model.class_index(label) for label in found.shown_classes()]
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    height = 0.17 * min(limit, found.change.shape[1]) + 0.8
    figure = new_figure(max(5.2, 3.3 * columns), lines * height + 0.5)
    what = "zero" if found.to == "zero" else "its mean"
    title = f"{found.layer}: change of the class score when a unit is set to {what}  ·  mean, 95% interval, images"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(chosen) :]:
        axis.axis("off")
    for axis, number in zip(axes, chosen, strict=False):
        _draw(axis, found, number, limit)
    return figure


def _draw(axis: Any, found: Ablation, number: int, limit: int) -> None:
    rows, own = found.rank(number, limit), found.change[found.rows(number), :, number]
    for y, row in enumerate(rows):
        values, mean = own[:, row["unit"]].numpy(), row["mean"]
        axis.scatter(values, np.full(len(values), y), s=5, color=DOTS, linewidths=0, zorder=1)
        low, high = row["interval"] or (mean, mean)
        axis.plot([low, high], [y, y], color=BLUE, linewidth=1.6, zorder=2)
        fill = BLUE if row["p"] < 0.05 else "white"
        axis.scatter([mean], [y], s=18, color=fill, edgecolors=BLUE, linewidths=1, zorder=3)
    axis.axvline(0, color=ZERO, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(rows)), [str(row["unit"]) for row in rows], fontsize=6)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="x", labelsize=6)
    axis.set_ylabel("unit", fontsize=6)
    axis.set_xlabel(f"change of {found.model.head.unit}", fontsize=6)
    axis.set_title(f"{found.model.labels[number]}  ({len(own)} images; filled: p < 0.05)", fontsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
