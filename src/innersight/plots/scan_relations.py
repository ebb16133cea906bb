"""Correlations of units and class maps, of a scan."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.address import Address
from innersight.errors import InnersightError, brief
from innersight.render.colour import Scale, scale_of
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures
from innersight.scan import Scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = 8
GREY = "#555"
LISTED = 9  # pairs of units named at either end
CLASSES = 12  # drawn for each unit, at most


@figures.register("Correlation of units")
def scan_correlation(scan: Scan, *, layer: str | None = None, other: str | None = None) -> "Figure":
    """Draw the correlations of two layers' units, similar ones side by side, and list the strongest pairs.

    Parameters
    ----------
    layer
        Its units are the rows; the deepest layer when None.
    other
        Its units are the columns; the same layer when None.

    """
    layer = layer or list(scan.layers)[-1]
    values = scan.correlation(layer, other)
    other = other or layer
    rows, columns = (values.isfinite().any(dim).nonzero()[:, 0] for dim in (1, 0))
    if not len(rows) or not len(columns):
        raise InnersightError(
            f"every unit of {layer} or of {other} has the same peak on all images, so there is no correlation"
        )
    kept = values[rows][:, columns]
    down, across = arranged(kept)
    figure = new_figure(8.2, 5.2)
    left = len(values) - len(rows) + (0 if other == layer else values.shape[1] - len(columns))
    with_ = "each other" if other == layer else f"those of {other}"
    apart = f"; {left} units with a constant peak left out" if left else ""
    figure.suptitle(
        f"Correlation of the peaks of {layer}'s units with {with_}, over {scan.images:,} images{apart}",
        x=0.01, ha="left", fontsize=9,
    )  # fmt: skip
    image, text = figure.subplots(1, 2, width_ratios=(1.7, 1))
    pil = image.imshow(
        kept[down][:, across].numpy(),
        cmap=Scale(1.0, signed=True).colours,
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
    )
    image.set(xticks=[], yticks=[])
    image.set_ylabel(f"{len(rows)} units of {layer}", fontsize=7, color=GREY)
    image.set_xlabel(f"{len(columns)} units of {other}, similar ones side by side", fontsize=7, color=GREY)
    bar = figure.colorbar(pil, ax=image, fraction=0.035, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.outline.set_visible(False)
    _list(text, scan, layer, other, values)
    return figure


def arranged(values: Float[Tensor, "n m"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """Return an order of rows and columns that puts similar ones side by side.

    By their angles in the plane of the first two components, from the widest gap on: the order of a corrgram (Friendly
    2002, The American Statistician 56).
    """
    left, sizes, right = torch.linalg.svd(values.double().nan_to_num(), full_matrices=False)
    if len(sizes) < 2:
        return left[:, 0].argsort(), right[0].argsort()
    rows, columns = (torch.atan2(part[1] * sizes[1], part[0] * sizes[0]) for part in (left.T, right))
    angles = rows.sort().values
    gaps = torch.diff(angles, append=angles[:1] + 2 * math.pi)
    first = angles[(int(gaps.argmax()) + 1) % len(angles)]
    down, across = (((angle - first) % (2 * math.pi)).argsort() for angle in (rows, columns))
    return down, across


@figures.register("Class maps of units")
def scan_class_maps(scan: Scan, *, layer: str | None = None, units: Sequence[int] | None = None) -> "Figure":
    """Draw one row per unit: its mean map for the classes with the highest mean, on one scale in each row.

    Parameters
    ----------
    layer
        The deepest layer when None.
    units
        The eight most selective units when None.

    """
    layer, tally = scan.tally(layer, units or ())
    if units is None:
        chosen = tally.selectivity
        units = [] if chosen is None else chosen["share"].nan_to_num(-1).argsort(descending=True)[:UNITS].tolist()
    units = list(units) or [0]
    found = [scan.class_maps(Address(layer, unit)) for unit in units]
    known = int(found[0].isfinite().flatten(1).all(1).sum())
    shown = min(CLASSES, max(1, known))
    figure = new_figure(0.95 * shown + 1.5, 1.12 * len(units) + 0.6)
    grid = scan.layers[layer].grid
    figure.suptitle(
        f"{layer} ({grid[0]}x{grid[1]}): mean map over the images of each class, on {found[0].shape[1]}x"
        f"{found[0].shape[2]} cells; one scale in each row\n"
        + (f"the {shown} of {known} classes with the highest mean" if known > shown else f"all {known} classes")
        + ", highest first",
        x=0.01, ha="left", fontsize=8.5,
    )  # fmt: skip
    axes = figure.subplots(len(units), shown, squeeze=False)
    for line, unit, maps in zip(axes, units, found, strict=True):
        scale = scale_of(maps)
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(
            f"unit {unit}\n{scale}", fontsize=6.5, rotation=0, ha="right", va="center", labelpad=6, linespacing=1.4
        )
        order = maps.flatten(1).mean(1).nan_to_num(-torch.inf).argsort(descending=True)
        for axis, class_ in zip(line, order[:shown].tolist(), strict=True):
            draw_map(axis, maps[class_], scale)
            axis.set_title(brief(scan.model.labels[class_], 16), fontsize=5.5, pad=2, loc="left", color=GREY)
    return figure


def _list(axis: Any, scan: Scan, layer: str, other: str, values: Tensor) -> None:
    axis.axis("off")
    pairs = values.clone()
    if layer == other:
        pairs[torch.ones_like(pairs, dtype=torch.bool).tril()] = torch.nan
    flat = pairs.flatten()
    order = [i for i in flat.argsort(stable=True).tolist() if flat[i] == flat[i]]
    lines = [
        ("highest correlation", order[::-1][:LISTED]),
        ("lowest correlation", [i for i in order[:LISTED] if flat[i] < 0]),
    ]
    y = 1.0
    for title, ends in lines:
        axis.text(0, y, title, fontsize=7.5, va="top", weight="bold", transform=axis.transAxes)
        y -= 0.05
        for i in ends:
            first, second = divmod(i, values.shape[1])
            names = f"{first} and {second}" if layer == other else f"{layer}:{first} and {other}:{second}"
            axis.text(
                0, y, f"{float(flat[i]):+.2f}", fontsize=7, va="top", family="monospace", transform=axis.transAxes
            )
            axis.text(0.2, y, names, fontsize=7, va="top", color=GREY, transform=axis.transAxes)
            y -= 0.043
        y -= 0.03
