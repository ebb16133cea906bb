"""An atlas as a poster."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PILImage

from innersight.atlas import Atlas, AtlasLevel
from innersight.errors import InnersightError
from innersight.options import chosen
from innersight.render.colour import as_colour, scale_of
from innersight.render.figures import new_figure
from innersight.result import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = 0.35  # inches
TILE = 96  # pixels of a cell
PAPER = np.array([251, 250, 248], np.float64)
INK, SOFT = "#1c1a1f", "#635e69"
FOR, AGAINST = np.array([161, 40, 106], np.float64), np.array([42, 111, 168], np.float64)
SHOWS = ("patterns", "crops")
FADED = 0.12  # of a cell that counts nothing for the class
SMALLEST = 0.35  # side of the cell with the fewest vectors, where sizes show the density
SHARE = 0.98  # of the cells whose attribution the scale covers


@figures.register("Atlas of a layer")
def atlas(
    found: Atlas,
    *,
    level: int | None = None,
    show: str = "patterns",
    target: str | None = None,
    versus: str | None = None,
    density: bool = False,
) -> "Figure":
    """Draw one level of the atlas as a map.

    Parameters
    ----------
    level
        Cells a side; when None, the finest level that is drawn as patterns.
    show
        What fills the cells: "patterns" or "crops".
    target
        Fade cells by what they count for this class.
    versus
        With `target`, colour cells by what they count for it less what they count for this class.
    density
        Draw cells as large as the number of their vectors.

    """
    chosen("show", show, SHOWS)
    if versus is not None and target is None:
        raise InnersightError("versus= needs target=: name both classes")
    own = found.level(level)
    if show == "patterns" and not own.drawn:
        if level is not None:
            raise InnersightError(
                f"level {own.grid} of this atlas is not drawn as patterns: choose show='crops' (--show crops), or make "
                "the atlas with a higher drawn= (--drawn)"
            )
        show = "crops"
    values, legend = _values(found, own, target, versus)
    canvas = _canvas(found, own, _tiles(found, own, show), values, versus is not None, density)
    figure = new_figure(12.0, 12.9)
    figure.set_facecolor(tuple(PAPER / 255))
    figure.set_layout_engine("constrained", w_pad=MARGIN, h_pad=MARGIN)
    axis = figure.subplots()
    axis.imshow(canvas, interpolation="lanczos")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    what = "patterns of the mean directions" if show == "patterns" else "the most typical parts of images"
    axis.set_title(f"{found.layer}  ", loc="left", fontsize=26, color=INK, family="serif", pad=14)
    axis.set_title(f"{found.model.name}: {what}", loc="right", fontsize=11, color=SOFT, pad=14)
    axis.set_xlabel("\n".join(_captions(found, own, legend, density)), loc="left", fontsize=10, color=SOFT, labelpad=12)
    return figure


def _captions(found: Atlas, own: AtlasLevel, legend: str, density: bool) -> list[str]:
    sizes = "; the larger a cell, the more vectors it holds" if density else ""
    first = (
        f"{len(found.points):,} activation vectors of {found.images:,} images, {len(own):,} cells on a grid of "
        f"{own.grid} × {own.grid}, trustworthiness {found.trustworthiness:.2f}{sizes}"
    )
    return [first, legend] if legend else [first]


def _values(found: Atlas, own: AtlasLevel, target: str | None, versus: str | None) -> tuple[np.ndarray | None, str]:
    """Return the share of the scale of every cell, -1 to 1, and the sentence that says which scale it is."""
    if target is None:
        return None, ""
    first = found.class_number(target)
    values, what = own.attribution[:, first], found.classes[first]
    if versus is not None:
        other = found.class_number(versus)
        values, what = values - own.attribution[:, other], f"{what} (magenta) less {found.classes[other]} (blue)"
    scale = scale_of(values, share=SHARE)
    unit = found.model.head.unit
    share = (values / scale.high).clamp(-1, 1).double().numpy()
    ends = f"±{scale.high:.2g}" if versus is not None else f"{scale.high:.2g}"
    return share, f"gradient × activation of a cell's vectors for {what}, full at {ends} {unit} for each vector"


def _tiles(found: Atlas, own: AtlasLevel, show: str) -> np.ndarray:
    """Return the pixels of every cell, (cells, side, side, 3)."""
    if show == "patterns":
        return as_colour(own.patterns, found.model.input.shown)
    crops: np.ndarray = found.crops[own.examples[:, 0].numpy()]
    return crops


def _canvas(
    found: Atlas, own: AtlasLevel, tiles: np.ndarray, values: np.ndarray | None, signed: bool, density: bool
) -> np.ndarray:
    side = max(TILE * 20 // own.grid, 32)
    canvas = np.empty((own.grid * side, own.grid * side, 3))
    canvas[:] = PAPER
    sizes = np.ones(len(own))
    if density:
        sizes = np.maximum(SMALLEST, np.sqrt(own.count.numpy() / np.quantile(own.count.numpy(), 0.95)).clip(max=1))
    for i, (row, column) in enumerate(own.position.tolist()):
        room = max(4, round(side * sizes[i]))
        tile = np.asarray(PILImage.fromarray(tiles[i]).resize((room, room), PILImage.Resampling.LANCZOS), np.float64)
        if values is not None:
            tile = _marked(tile, values[i], signed)
        top, left = row * side + (side - room) // 2, column * side + (side - room) // 2
        canvas[top : top + room, left : left + room] = tile
    shown: np.ndarray = np.rint(canvas).clip(0, 255).astype(np.uint8)
    return shown


def _marked(tile: np.ndarray, value: float, signed: bool) -> np.ndarray:
    """Fade a tile towards the paper by what it counts; where two classes are compared, tint it by which it is for."""
    strength = FADED + (1 - FADED) * (abs(value) if signed else max(0.0, value))
    if signed:
        grey = tile.mean(2, keepdims=True)
        colour = FOR if value > 0 else AGAINST
        # As light as it was, in the colour of its class.
        tile = np.where(grey < 128, colour * grey / 128, 255 - (255 - colour) * (255 - grey) / 128)
    return tile * strength + PAPER * (1 - strength)
