"""Trust: scores with their intervals, all other columns, and how far methods and protocols agree."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from innersight.render.figures import new_figure
from innersight.result import figures
from innersight.trust.column import describe_column
from innersight.trust.result import Trust
from innersight.trust.table import Row
from innersight.trust.wording import many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INKS = {"believed": "#1a7f4b", "undecided": "#b07d12", "doubtful": "#b3261e", None: "0.45"}
WIDTH = 205


@figures.register("Which heatmap methods can be trusted")
def trust(result: Trust) -> "Figure":
    """Draw the methods in the order of their scores, baselines below, with every other column as numbers."""
    table, columns = result.ranked(), result.shown
    note = textwrap.wrap(result.note, WIDTH)
    height = 1.7 + 0.27 * len(table)
    below = 0.7 + 0.17 * len(note) + (0.19 * len(result.methods) + 1.2 if len(result.methods) > 1 else 0)
    figure = new_figure(12.5, height + below)
    figure.suptitle("\n".join(textwrap.wrap(result.sentence, 128)), x=0.01, ha="left", fontsize=11, weight="bold")
    rows = 2 if len(result.methods) > 1 else 1
    grid = figure.add_gridspec(rows, 2, width_ratios=[1, 1.35], height_ratios=[height, below][:rows])
    _dots(figure.add_subplot(grid[0, 0]), table, result)
    _numbers(figure.add_subplot(grid[0, 1]), table, columns, result)
    if rows == 2:
        _agreement(figure.add_subplot(grid[1, 0]), result)
        _protocols(figure.add_subplot(grid[1, 1]), result)
    figure.supxlabel("\n".join(note), x=0.01, ha="left", fontsize=7.5)
    return figure


def _dots(axis: "Axes", table: Sequence[Row], result: Trust) -> None:
    for y, row in enumerate(table):
        own, ink = row.values[result.score], INKS[row.standing]
        points = result.scores[:, result.maps.index(row.name)]
        axis.scatter(points, np.full(len(points), y), s=4, color="0.82", zorder=0, linewidths=0)
        if own.interval:
            axis.plot(own.interval, [y, y], color=ink, lw=2.2, solid_capstyle="butt")
        axis.plot(own.mean, y, "o", color=ink, ms=5)
        for name in result.controls:
            if name in row.values:
                axis.plot(row.values[name].mean, y, "o", mfc="white", mec=ink, ms=4.5, zorder=1)
    axis.axvline(0, color="0.7", lw=0.8, zorder=0)
    _lines(axis, table)
    axis.set_yticks(range(len(table)), [row.name for row in table], fontsize=8)
    for label, row in zip(axis.get_yticklabels(), table, strict=True):
        label.set_color(INKS[row.standing])
    title = f"{describe_column(result.score).title}: mean and 95% interval; grey: single images"
    controls = " or ".join(result.controls.values())
    axis.set_title(title + (f"\nhollow: the same method with {controls}" if controls else ""), fontsize=8, loc="left")
    axis.tick_params(labelsize=8, length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _lines(axis: "Axes", table: Sequence[Row]) -> None:
    """Draw a thin line between methods and baselines."""
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.axhline(sum(row.standing is not None for row in table) - 0.5, color="0.7", lw=0.8)


def _numbers(axis: "Axes", table: Sequence[Row], columns: Sequence[str], result: Trust) -> None:
    """Write every number, darker where it is better than those of the other maps."""
    for x, name in enumerate(columns):
        values = np.array([row.values[name].mean if name in row.values else np.nan for row in table])
        better = describe_column(name).better
        order = values if better == "high" else -values
        low, high = (np.nanmin(order), np.nanmax(order)) if np.isfinite(order).any() else (0.0, 0.0)
        # Where the maps hardly differ, within their intervals, so do their shades.
        ends = [row.values[name].interval for row in table if name in row.values]
        span = max([high - low, *(end[1] - end[0] for end in ends if end)])
        for y, value in enumerate(values):
            if not np.isfinite(value):
                continue
            if better and high > low:
                shade = float((order[y] - low) / span)
                axis.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color="#2f6db5", alpha=0.42 * shade, lw=0)
            axis.text(x, y, f"{value:z.2f}", ha="center", va="center", fontsize=7.5)
    for y, row in enumerate(table):
        if row.standing:
            axis.text(len(columns) - 0.3, y, row.standing, color=INKS[row.standing], va="center", fontsize=8)
    few = {name: [many(count)] for name, count in result.few.items()}
    titles = [
        "\n".join(
            [
                *textwrap.wrap(describe_column(name).title, 11),
                *few.get(name, []),
                describe_column(name).better or "–",
            ]
        )
        for name in columns
    ]
    axis.set_xticks(range(len(columns)), titles, fontsize=7)
    axis.xaxis.tick_top()
    axis.set_xlim(-0.5, len(columns) + 1.1)
    _lines(axis, table)
    axis.set_yticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _agreement(axis: "Axes", result: Trust) -> None:
    count = len(result.methods)
    axis.imshow(result.agreement.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    for y in range(count):
        for x in range(count):
            value = float(result.agreement[y, x])
            if x != y and np.isfinite(value) and count <= 26:
                ink = "white" if abs(value) > 0.65 else "0.15"
                axis.text(x, y, f"{value:z.1f}".replace("0.", "."), ha="center", va="center", fontsize=5.5, color=ink)
    axis.set_xticks(range(count), result.methods, rotation=90, fontsize=6.5)
    axis.set_yticks(range(count), result.methods, fontsize=6.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title("Similarity of the methods' maps (rank correlation)", fontsize=8, loc="left")


def _protocols(axis: "Axes", result: Trust) -> None:
    found = result.rank_agreement()
    for y, rho in enumerate(found.values()):
        axis.barh(y, rho, color="#2f6db5", height=0.55)
        axis.text(max(rho, 0) + 0.02, y, f"{rho:z.2f}", va="center", fontsize=7.5)
    axis.set_yticks(range(len(found)), list(found), fontsize=7.5)
    axis.set_xlim(min(0, *found.values(), 0) - 0.02, 1.12)
    axis.set_ylim(max(len(found), 8) - 0.5, -0.5)
    axis.tick_params(labelsize=7.5, length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set_title(
        "Order of the methods under other protocols (rank correlation with the table)", fontsize=8, loc="left"
    )
