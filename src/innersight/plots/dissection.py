"""Dissection: how many units are labelled by which part or word, and what the best of them respond to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from innersight.activations import compute, seen_array
from innersight.dissection import masked
from innersight.dissection.overlap import finite, responds
from innersight.dissection.result import Dissection
from innersight.dissection.words import WordLabels
from innersight.errors import brief, printable
from innersight.render.figures import new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    "#4263eb", "#f08c00", "#2b8a3e", "#c2255c", "#0c8599", "#7048e8", "#a0522d", "#e64980", "#5c940d", "#1971c2",
    "#d9480f", "#087f5b",
)  # fmt: skip
NONE, GREY = "#dee2e6", "#555"
NAMED = len(COLOURS)  # parts with a colour of their own; the others share one
OTHER = "#868e96"


@dataclass(frozen=True, eq=False)
class _Read:
    """An image read again. x : (C, H, W). seen : (H, W, 3) uint8, what the network sees. parts : masks over it."""

    x: Tensor
    seen: np.ndarray
    parts: Mapping[str, np.ndarray]


@figures.register("Parts that units respond to")
def dissection(
    found: Dissection, *, layer: str | None = None, units: Sequence[int] | None = None, limit: int = 6
) -> "Figure":
    """Draw how many units of each layer are labelled by which part, and the best units of each with their images.

    Beside each image with the part outlined, only what the unit responds to is bright. The images are read again.

    Parameters
    ----------
    found
        The dissection.
    layer
        Draw only units of this layer, with several images each.
    units
        Those of `layer` to draw; the best when None.
    limit
        How many units of each layer.

    """
    for unit in units or ([] if layer is None else [0]):
        found.row(layer or "", unit)
    chosen = {name: best(found, name, limit) for name in found.layers}
    if layer is not None:
        chosen = {layer: list(units) if units else chosen[layer] or _ranked(found, layer)[:limit]}
    numbers = [found.layers[name].shown[own].flatten().tolist() for name, own in chosen.items()]
    opened = {number: _open(found, number) for number in sorted({n for some in numbers for n in some if n >= 0})}
    colours = _colours(found)
    if layer is not None:
        return _units(found, layer, chosen[layer], opened, colours)
    return _overview(found, chosen, opened, colours, limit)


def best(found: Dissection, layer: str, count: int) -> list[int]:
    """Return up to `count` units of a layer that have a label: the best of each part first, then the next of each."""
    ranked = [unit for unit in _ranked(found, layer) if found.label(layer, unit) is not None]
    turn: dict[str | None, int] = {}
    order = []
    for rank, unit in enumerate(ranked):
        part = found.label(layer, unit)
        turn[part] = turn.get(part, 0) + 1
        order.append((turn[part], rank, unit))
    return [unit for _, _, unit in sorted(order)[:count]]


def _ranked(found: Dissection, layer: str) -> list[int]:
    return [row["unit"] for row in found.rank() if row["layer"] == layer]


def _colours(found: Dissection) -> dict[str, str]:
    """Return a colour for each part, those that label most units first."""
    total = {part: sum(row["parts"].get(part, 0) for row in found.summary().values()) for part in found.parts}
    order = sorted(found.parts, key=lambda part: (-total[part], found.parts.index(part)))
    return {part: COLOURS[i] if i < NAMED else OTHER for i, part in enumerate(order)}


def _overview(
    found: Dissection, chosen: Mapping[str, list[int]], opened: Mapping[int, _Read], colours: Mapping[str, str],
    count: int,
) -> "Figure":  # fmt: skip
    bars = 0.3 * len(found.layers) + 0.75
    width = 2 * 1.02 * count + 0.9
    line = 1.36
    figure = new_figure(width, bars + line * len(chosen) + 0.5)
    figure.suptitle(
        f"{found.model.name}: parts that units respond to, by masks of {found.images:,} images  ·  overlap above "
        f"{found.min_overlap:g} at the unit's highest {found.quantile * 100:g}%, p < {found.alpha:g}",
        x=0.01, ha="left", fontsize=9,
    )  # fmt: skip
    upper, *lower = figure.subfigures(
        len(chosen) + 1, 1, height_ratios=[bars, *[line] * len(chosen)], squeeze=False
    ).ravel()
    _bars(upper.subplots(), found, colours)
    for part, (name, units) in zip(lower, chosen.items(), strict=True):
        axes = part.subplots(1, 2 * count, squeeze=False)[0]
        _blank(axes)
        axes[0].set_ylabel(name, fontsize=7.5, labelpad=6)
        if not units:
            axes[0].text(0, 0.5, "no unit is labelled by a part", fontsize=7, color=GREY, transform=axes[0].transAxes)
        images = {unit: int(found.layers[name].shown[unit][0]) for unit in units}
        maps = _maps(found, name, {number: opened[number] for number in set(images.values())})
        for i, unit in enumerate(units):
            pair = axes[2 * i], axes[2 * i + 1]
            _pair(pair, found, name, unit, opened[images[unit]], maps[images[unit]], colours)
            _name(pair[0], found, name, unit)
    return figure


def _units(
    found: Dissection, layer: str, units: Sequence[int], opened: Mapping[int, _Read], colours: Mapping[str, str]
) -> "Figure":
    columns = found.layers[layer].shown.shape[1]
    figure = new_figure(2 * 1.02 * columns + 1.2, 1.2 * len(units) + 0.6)
    figure.suptitle(
        f"{layer}: the images that each unit responds to most, and where  ·  outlined: its part",
        x=0.01,
        ha="left",
        fontsize=9,
    )
    maps = _maps(found, layer, opened)
    axes = figure.subplots(len(units), 2 * columns, squeeze=False)
    for line, unit in zip(axes, units, strict=True):
        _blank(line)
        row = found.row(layer, unit)
        p = "" if row["p"] is None else f"\np {row['p']:.3f}"
        low, high = row["interval"]
        part = "" if row["label"] else f"{row['part']} "
        text = f"{unit}: {row['label'] or 'no part'}\n{part}{row['overlap']:.3f}\n({low:.3f} to {high:.3f}){p}"
        line[0].set_ylabel(text, fontsize=6.5, rotation=0, ha="right", va="center", labelpad=6, linespacing=1.4)
        for i, number in enumerate(found.layers[layer].shown[unit].tolist()):
            if number >= 0:
                _pair(line[2 * i : 2 * i + 2], found, layer, unit, opened[number], maps[number], colours)
                line[2 * i].set_title(_short(found.records[number].name), fontsize=5, pad=2, color=GREY, loc="left")
    return figure


def _bars(axis: Any, found: Dissection, colours: Mapping[str, str]) -> None:
    summary = found.summary()
    order = [part for part in colours if any(part in row["parts"] for row in summary.values())]
    for y, row in enumerate(summary.values()):
        left = 0.0
        for part in order:
            wide = row["parts"].get(part, 0) / row["units"]
            axis.barh(y, wide, left=left, color=colours[part], height=0.72, linewidth=0.6, edgecolor="white")
            if wide > 0.02:
                axis.text(
                    left + wide / 2, y, str(row["parts"][part]), ha="center", va="center", fontsize=6, color="white"
                )
            left += wide
        axis.barh(y, 1 - left, left=left, color=NONE, height=0.72)
        if left < 0.98:
            axis.text(
                left + (1 - left) / 2, y, str(row["units"] - row["labelled"]), ha="center", va="center", fontsize=6,
                color=GREY,
            )  # fmt: skip
    axis.set_yticks(range(len(summary)), list(summary), fontsize=7)
    axis.set_ylim(len(summary) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100% of the layer's units"], fontsize=6)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    from matplotlib.patches import Patch

    named = [Patch(color=colours[part], label=printable(part)) for part in order[:NAMED]]
    rest = [Patch(color=OTHER, label=f"{len(order) - NAMED} other parts")] if len(order) > NAMED else []
    axis.legend(
        handles=[*named, *rest, Patch(color=NONE, label="no part")], ncols=7, fontsize=6.5, frameon=False,
        loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, handlelength=1, columnspacing=1.2,
    )  # fmt: skip


def _pair(
    axes: Any, found: Dissection, layer: str, unit: int, opened: _Read, maps: Tensor,
    colours: Mapping[str, str],
) -> None:  # fmt: skip
    """Draw an image with the unit's part outlined, and beside it what the unit responds to, the rest dark."""
    size = opened.seen.shape[:2]
    threshold = found.layers[layer].threshold[unit : unit + 1]
    responses = responds(maps[unit : unit + 1], threshold, (size[0], size[1]))[0].numpy()
    dark = np.where(responses[:, :, None], opened.seen, opened.seen * 0.22).astype(np.uint8)
    part = found.row(layer, unit)["part"]
    mask = opened.parts.get(part)
    for axis, image, wide in zip(axes, (opened.seen, dark), (1.3, 0.7), strict=True):
        axis.imshow(image, interpolation="nearest" if max(size) < 64 else "antialiased")
        if mask is not None and mask.any() and not mask.all():
            grid = np.arange(size[1]), np.arange(size[0])
            for colour, line in (("white", wide + 1.1), (colours[part], wide)):
                axis.contour(*grid, mask.astype(float), [0.5], colors=[colour], linewidths=line)
            axis.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5))


def _name(axis: Any, found: Dissection, layer: str, unit: int) -> None:
    row = found.row(layer, unit)
    axis.set_title(f"{unit}: {printable(row['part'])} {row['overlap']:.2f}", fontsize=6.5, pad=2.5, loc="left")


def _blank(axes: Any) -> None:
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def _open(found: Dissection, number: int) -> _Read:
    spec, entry = found.model.input, found.records[number]
    read = entry.load(spec)
    one = masked.read(entry, spec, found.source, (spec.height, spec.width))
    return _Read(read.tensor(spec), seen_array(read, found.model), one.parts)


def _maps(found: Dissection, layer: str, opened: Mapping[int, _Read]) -> dict[int, Tensor]:
    """Return the maps (units, h, w) of a layer on images, by number."""
    if not opened:
        return {}
    values = compute(found.model, torch.stack([one.x for one in opened.values()]), [layer])[layer]
    return dict(zip(opened, finite(values), strict=True))


def _short(name: str, length: int = 20) -> str:
    return brief(name.rpartition("/")[2], length)


@figures.register("Words that units correlate with")
def word_labels(found: WordLabels, *, limit: int = 12) -> "Figure":
    """Draw for each layer its units of highest correlation, with word and interval; hollow: no label.

    Parameters
    ----------
    found
        The labels.
    limit
        How many units of each layer.

    """
    limit = min(limit, max(map(len, found.layers.values())))
    columns = min(3, len(found.layers))
    lines = -(-len(found.layers) // columns)
    figure = new_figure(max(5.2, 3.3 * columns), lines * (0.19 * limit + 0.8) + 0.4)
    title = f"{found.model.name}: the words that units correlate with, over {found.images:,} images"
    figure.suptitle(f"{title}  ·  filled: p < {found.alpha:g}", x=0.01, ha="left", fontsize=9)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(found.layers) :]:
        axis.axis("off")
    summary, ranked = found.summary(), found.rank()
    for axis, name in zip(axes, found.layers, strict=False):
        rows = [row for row in ranked if row["layer"] == name and row["correlation"] is not None][:limit]
        for y, row in enumerate(rows):
            axis.plot(row["interval"], [y, y], color="#364fc7", linewidth=1.4)
            fill = "white" if row["label"] is None else "#364fc7"
            axis.scatter([row["correlation"]], [y], s=18, color=fill, edgecolors="#364fc7", zorder=3)
        names = [f"{row['unit']}: {printable(row['word'])[:28]}" for row in rows]
        axis.set_yticks(range(len(rows)), names, fontsize=6)
        axis.set_ylim(limit - 0.4, -0.6)
        axis.set_title(f"{name}  ({summary[name]['labelled']} of {summary[name]['units']} labelled)", fontsize=7)
        axis.set_xlabel("correlation", fontsize=6)
        axis.tick_params(axis="x", labelsize=6)
        axis.axvline(0, color="#868e96", linewidth=0.8, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
