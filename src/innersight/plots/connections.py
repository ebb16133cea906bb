"""Connections: the unit in the middle, the units that drive it at the left, those it drives at the right."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from innersight import tap
from innersight.activations import compute, seen_array
from innersight.connections import CLASSES, Connections, Link
from innersight.errors import printable
from innersight.render.colour import scale_of
from innersight.render.figures import draw_map, new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVATES, INHIBITS, INK, GREY = "#b2182b", "#2166ac", "#212529", "#6c757d"
UNITS = 4
# In inches.
WIDTH, ROW, TILE, MIDDLE, HEAD, TOP = 8.4, 0.48, 0.42, 1.05, 0.4, 0.42
LEFT, RIGHT = 2.05, 6.35
THICKEST = 6.0  # of a line, in points: that of the strongest


@dataclass(frozen=True)
class _Block:
    """One unit with its links of one kind, from a height on."""

    unit: int
    left: Link | None
    right: Link | None
    rows: int

    @property
    def height(self) -> float:
        return HEAD + max(self.rows * ROW, MIDDLE + 0.4) + 0.12


@figures.register("Connections of units")
def connections(found: Connections, *, units: Sequence[int] | None = None, limit: int = 8) -> "Figure":
    """Draw each unit in the middle, the units that drive it at the left, those it drives at the right.

    Red activates, blue inhibits; the width of a line is its size relative to the strongest on that side. With images,
    every map is that on the image with the highest peak of the unit in the middle.

    Parameters
    ----------
    units
        Of those asked for; the first four when None.
    limit
        At most this many connections on each side.

    """
    units = list(units or found.units[:UNITS])
    blocks = [block for unit in units for block in _blocks(found, unit, limit)]
    height = TOP + sum(block.height for block in blocks) + 0.1
    figure = new_figure(WIDTH, height)
    figure.set_layout_engine("none")
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    sheet.axis("off")
    named = ", ".join(map(str, units)) + (" ..." if len(units) < len(found.units) else "")
    sheet.text(0.15, 0.24, f"{found.layer}:{named}", fontsize=11, color=INK, weight="bold", va="center")
    sheet.text(
        WIDTH - 0.15,
        0.24,
        "red activates, blue inhibits; width: size relative to the strongest on that side",
        fontsize=7,
        color=GREY,
        ha="right",
        va="center",
    )
    top = TOP
    for block in blocks:
        _draw(figure, sheet, found, block, top, limit)
        top += block.height
    return figure


def _blocks(found: Connections, unit: int, limit: int) -> list[_Block]:
    blocks = []
    for by in ("attribution", "weight"):
        into = [link for link in found.links if link.by == by and link.direction == "in"]
        out = [link for link in found.links if link.by == by and link.direction == "out"]
        for number in range(max(len(into), len(out))):
            pair = [links[number] if number < len(links) else None for links in (into, out)]
            rows = max(len(found.rank(link, unit, limit)) for link in pair if link is not None)
            blocks.append(_Block(unit, pair[0], pair[1], rows))
    return blocks


def _draw(figure: "Figure", sheet: Any, found: Connections, block: _Block, top: float, limit: int) -> None:
    middle = top + HEAD + (block.height - 0.12 - HEAD) / 2
    maps = _maps(found, block)
    sheet.plot([0.15, WIDTH - 0.15], [top, top], color="#dee2e6", linewidth=0.8)
    if maps:
        _tile(figure, maps, found.layer, block.unit, WIDTH / 2, middle, MIDDLE)
        shown = f"maps on {maps['name']}"
        sheet.text(WIDTH / 2, middle + MIDDLE / 2 + 0.27, shown, fontsize=6, color=GREY, ha="center", va="center")
    else:
        _dot(sheet, WIDTH / 2, middle, MIDDLE / 2)
    name = f"{found.layer}:{block.unit}"
    sheet.text(
        WIDTH / 2, middle + MIDDLE / 2 + 0.13, name, fontsize=8, color=INK, ha="center", va="center", weight="bold"
    )
    for link, x, side in ((block.left, LEFT, -1), (block.right, RIGHT, 1)):
        edge, align = (0.15, "left") if side < 0 else (WIDTH - 0.15, "right")
        if link is None:
            sheet.text(edge, middle, _why(found, side), fontsize=6.5, color=GREY, ha=align, va="center")
            continue
        sheet.text(edge, top + 0.2, str(link), fontsize=7.5, color=INK, ha=align, va="center")
        rows = found.rank(link, block.unit, limit)
        first = middle - (len(rows) - 1) * ROW / 2
        for number, row in enumerate(rows):
            y = first + number * ROW
            _line(sheet, (x - side * TILE / 2, y), (WIDTH / 2 + side * MIDDLE / 2, middle), row, rows[0]["size"])
            if link.layer in maps:
                _tile(figure, maps, link.layer, row["unit"], x, y, TILE)
            else:
                _dot(sheet, x, y, TILE / 2)
            _label(sheet, row, link.by, x + side * (TILE / 2 + 0.07), y, "right" if side < 0 else "left")


def _why(found: Connections, side: int) -> str:
    """Return why there is nothing at a side of a block."""
    way = "incoming" if side < 0 else "outgoing"
    reasons = [note for note in found.notes if note.startswith(f"by weight, {way}")]
    if not reasons and side < 0:
        reasons = [note for note in found.notes if "before=" in note]
    return textwrap.fill(reasons[0].partition(": ")[2] or reasons[0], 34) if reasons else ""


def _line(
    sheet: Any, end: tuple[float, float], middle: tuple[float, float], row: dict[str, Any], largest: float
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    half = (end[0] + middle[0]) / 2
    path = Path([end, (half, end[1]), (half, middle[1]), middle], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    colour = ACTIVATES if row["value"] > 0 else INHIBITS
    width = 0.4 + THICKEST * row["size"] / largest
    sheet.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, alpha=0.75, capstyle="butt"))


def _label(sheet: Any, row: dict[str, Any], by: str, x: float, y: float, align: str) -> None:
    colour = ACTIVATES if row["value"] > 0 else INHIBITS
    spread = "" if row["interval"] is None else " [{:.2g}, {:.2g}]".format(*row["interval"])
    sheet.text(x, y - 0.085, row["address"], fontsize=6.5, color=INK, ha=align, va="center")
    size = f"norm {row['size']:.2g}, sum " if by == "weight" else ""
    text = f"{size}{row['value']:+.2g}{spread}  {row['share']:.0%}"
    sheet.text(x, y + 0.085, text, fontsize=6, color=colour, ha=align, va="center")


def _dot(sheet: Any, x: float, y: float, radius: float) -> None:
    from matplotlib.patches import Circle

    sheet.add_patch(Circle((x, y), radius, facecolor="#f1f3f5", edgecolor="#adb5bd", linewidth=0.8, zorder=3))


def _tile(figure: "Figure", maps: dict[str, Any], layer: str, unit: int, x: float, y: float, side: float) -> None:
    width, height = figure.get_size_inches()
    box = ((x - side / 2) / width, 1 - (y + side / 2) / height, side / width, side / height)
    axis = figure.add_axes(box)
    values = maps[layer][unit]
    draw_map(axis, values, scale_of(values), maps[""])
    axis.set_anchor("C")
    for spine in axis.spines.values():
        spine.set(color="#ced4da", linewidth=0.6)


def _maps(found: Connections, block: _Block) -> dict[str, Any]:
    """Return the maps by layer on the image with the highest peak of the unit in the middle, "" for the image."""
    if not found.best:
        return {}
    entry, spec = found.best[found.units.index(block.unit)], found.model.input
    read = entry.load(spec)
    x = read.tensor(spec)[None]
    ends = {link.layer for link in (block.left, block.right) if link is not None} - {CLASSES, tap.IMAGE}
    maps: dict[str, Any] = {layer: values[0] for layer, values in compute(found.model, x, [found.layer, *ends]).items()}
    maps = {layer: values for layer, values in maps.items() if layer == found.layer or values.shape[1:] != (1, 1)}
    return maps | {
        "name": printable(os.path.basename(entry.name)),
        "": seen_array(read, found.model),
    }
