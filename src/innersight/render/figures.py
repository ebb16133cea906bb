"""Figures for Python and the command line: contact sheets and overlays, drawn with matplotlib."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from innersight.render.colour import Scale, paint, scale_of
from innersight.render.titles import fit_titles
from innersight.storage.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write a figure in the format that the file's ending names."""
    # Drawn first: where a file cannot be written the libraries raise errors of their own, or none.
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:])
    return write_bytes(path, buffer.getvalue())


def html(figure: "Figure") -> str:
    """Return a figure as an `<img>` with its data inside, for notebooks."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f'<img style="max-width:100%" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def raster(figure: "Figure") -> UInt8[np.ndarray, "H W 3"]:
    """Return the pixels of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, in inches, outside of pyplot's global state."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    class Plain(Figure):
        """Draws every text as it is written: a `$` in a name begins no formula. Long titles are broken into lines."""

        def draw(self, renderer: Any) -> None:
            for text in self.findobj(Text):
                text.set_parse_math(False)
            fit_titles(self, renderer)
            super().draw(renderer)

    return Plain(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def contact_sheet(
    groups: Sequence[tuple[str, Tensor, Scale | None]],
    *,
    labels: Sequence[Sequence[str]],
    under: Sequence[np.ndarray | None],
    columns: int = 12,
) -> "Figure":
    """Draw groups of maps as grids of crisp tiles.

    groups : (title, maps (n, h, w), scale); without a scale each tile has its own.
    labels : one text per tile. under : per group an image (H, W, 3) uint8 to lay the maps over, or None.
    """
    rows = [-(-len(maps) // columns) for _, maps, _ in groups]
    figure = new_figure(columns * 0.82, max(1.2, sum(r * 0.98 + 0.5 for r in rows)))
    heights = [r * 0.98 + 0.5 for r in rows]
    parts = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=heights).ravel()
    for part, (title, maps, scale), names, image, lines in zip(parts, groups, labels, under, rows, strict=True):
        shown = "each tile on its own scale" if scale is None else f"one scale, {scale}"
        part.suptitle(f"{title}  ·  {shown}", x=0.01, ha="left", fontsize=9)
        axes = part.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, values, name in zip(axes, maps, names, strict=False):
            draw_map(axis, values, scale or scale_of(values), image)
            axis.set_title(name, fontsize=6, pad=1.5, color="#555")
    return figure


def draw_map(
    axis: Any, values: Tensor, scale: Scale, image: np.ndarray | None = None, interpolation: str = "nearest"
) -> None:
    """Draw one map (h, w) with crisp cells, over an image (H, W, 3) when there is one: zero is transparent there."""
    if image is None:
        axis.imshow(paint(values, scale), interpolation=interpolation)
    else:
        height, width = image.shape[:2]
        extent = (0, width, height, 0)
        grey = image.mean(2, keepdims=True).repeat(3, 2) / 255 * 0.6 + 0.3
        axis.imshow(grey, extent=extent)
        strength = (values.abs().cpu().double() / scale.high).clamp(0, 1).numpy()
        axis.imshow(
            np.dstack([paint(values, scale) / 255.0, strength * 0.9]), interpolation=interpolation, extent=extent
        )
    axis.set(xticks=[], yticks=[])


def image_grid(
    images: np.ndarray, labels: Sequence[str], *, title: str, columns: int = 8, together: int = 1
) -> "Figure":
    """Draw colour images (n, H, W, 3) uint8 in a grid with a line of text above each.

    together : so many in turn belong together; they stay in one row, with a gap before the next.
    """
    groups = len(images) // together
    side = min(max(1, columns // together), max(1, groups))
    rows = max(1, -(-groups // side))
    gap = 0.18 if together > 1 else 0.0
    figure = new_figure(max(side * (together + gap) * 1.35, 4.0), rows * 1.6 + 0.45)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    # A gap is an empty column of the grid.
    widths = ([1.0] * together + ([gap] if gap else [])) * side
    axes = figure.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
    for axis in axes.ravel():
        axis.axis("off")
    shown = axes[:, [width == 1.0 for width in widths]].ravel()
    for axis, image, label in zip(shown, images, labels, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(label, fontsize=6, pad=2, color="#333")
    return figure


def confusion_matrix(axis: Any, counts: Tensor, labels: Sequence[str], *, numbered: bool = True) -> Any:
    """Draw counts (classes, classes), rows the ground truth, columns the prediction; return the image on the axis.

    Colour is the share of the class in the ground truth, 0 to 1. numbered : write the counts that are not 0 into the
    cells.
    """
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    shown = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axis.set_yticks(range(len(labels)), labels, fontsize=6)
    axis.set(xlabel="predicted", ylabel="ground truth")
    for y, x in counts.nonzero().tolist() if numbered else ():
        colour = "white" if share[y, x] > 0.5 else "#333"
        axis.text(x, y, f"{int(counts[y, x]):,}", ha="center", va="center", fontsize=6, color=colour)
    return shown
