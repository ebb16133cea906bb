"""Matchings: what became of the units of each layer, and the correlation of partners."""

from typing import TYPE_CHECKING, Any

import numpy as np

from innersight.matching import LayerMatch, Matching
from innersight.render.figures import new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"same": "#2f6f9f", "moved": "#e0a030", "born": "#3a9d5d", "died": "#b2483a", "silent": "#ced4da"}
INK, GREY = "#212529", "#6c757d"


@figures.register("Units of two checkpoints")
def matching(found: Matching) -> "Figure":
    """Draw one row for each layer: a bar of verdicts at the left, the sorted correlations at the right."""
    layers = list(found.layers.values())
    figure = new_figure(8.6, 1.25 * len(layers) + 1.1)
    figure.suptitle(
        f"{found.before.name} → {found.after.name}, unit by unit over {found.images:,} images",
        x=0.01, ha="left", fontsize=9.5, color=INK,
    )  # fmt: skip
    from matplotlib.patches import Patch

    keys = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items()]
    figure.legend(
        handles=keys, loc="outside lower center", ncols=len(keys), fontsize=6.5, frameon=False, handlelength=1,
        handleheight=1, labelcolor=INK,
    )  # fmt: skip
    axes = figure.subplots(len(layers), 2, squeeze=False, width_ratios=(1, 1.25))
    for line, layer in zip(axes, layers, strict=True):
        _bar(line[0], layer)
        _sorted(line[1], layer)
    axes[-1, 0].set_xlabel("units", fontsize=6.5, color=GREY)
    axes[-1, 1].set_xlabel("units after, highest correlation first; band: 95%", fontsize=6.5, color=GREY)
    return figure


def _bar(axis: Any, layer: LayerMatch) -> None:
    counts, units = layer.counts(), len(layer.partner)
    for row, (name, ends) in enumerate((("after", ("same", "moved", "born")), ("before", ("same", "moved", "died")))):
        start = 0
        for kind in ends:
            _piece(axis, start, counts[kind], kind, units, row)
            start += counts[kind]
        _piece(axis, start, units - start, "silent", units, row)
        axis.text(-units * 0.015, row, name, fontsize=6.5, color=GREY, ha="right", va="center")
    axis.set(xlim=(0, units), ylim=(1.5, -0.6), yticks=[])
    axis.set_title(f"{layer.layer}  ·  {units} units  ·  CKA {layer.cka:.2f}", fontsize=7.5, loc="left", color=INK)
    axis.tick_params(axis="x", labelsize=6, colors=GREY)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#adb5bd")


def _piece(axis: Any, start: int, count: int, kind: str, units: int, row: int) -> None:
    if not count:
        return
    axis.barh(row, count, left=start, height=0.62, color=COLOURS[kind], edgecolor="white", linewidth=0.8)
    text = next((text for text in (f"{kind} {count}", str(count)) if count / units > 0.022 * len(text)), "")
    colour = INK if kind in ("silent", "moved") else "white"
    axis.text(start + count / 2, row, text, fontsize=6.5, color=colour, ha="center", va="center")


def _sorted(axis: Any, layer: LayerMatch) -> None:
    active = (~layer.silent[1]).nonzero()[:, 0]
    order = active[layer.best[active].argsort(descending=True, stable=True)]
    values, spread = layer.best[order].numpy(), layer.interval[:, order].numpy()
    x = np.arange(len(order))
    axis.fill_between(x, spread[0], spread[1], step="mid", color="#dee2e6", linewidth=0)
    kinds = [layer.verdict(unit) for unit in order.tolist()]
    axis.scatter(x, values, s=7, c=[COLOURS[kind] for kind in kinds], linewidths=0, zorder=3)
    axis.axhline(layer.threshold, color=INK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=2)
    text = f"chance {layer.threshold:.2f}"
    axis.text(-0.4, layer.threshold - 0.04, text, fontsize=6, color=INK, ha="left", va="top", zorder=4)
    axis.set(ylim=(min(0, float(values.min(initial=0))) - 0.02, 1.03), xlim=(-0.8, max(len(order), 1) - 0.2))
    axis.set_ylabel("correlation", fontsize=6.5, color=GREY)
    axis.tick_params(labelsize=6, colors=GREY)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
