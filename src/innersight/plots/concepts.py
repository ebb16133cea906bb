"""Concepts: a card of each, with the parts of images where it is strongest and the classes it speaks for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from innersight.concepts import Concepts
from innersight.concepts.crops import SIDE, crops_of
from innersight.errors import InnersightError, printable
from innersight.render.figures import new_figure
from innersight.result import figures
from innersight.scan.crops import darkened, resized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.4, 1.16
SHOWN = 6
LITTLE = 0.05  # of the highest contribution; a class with less is not drawn
FOR, AGAINST, GREY = "#2b8a3e", "#c2255c", "#555"


@figures.register("Concepts of a layer")
def concepts(found: Concepts, *, limit: int = 16, columns: int = 2) -> "Figure":
    """Draw a card of each concept, those that contribute most first.

    A card shows the concept's label, the classes to whose score it adds most or from which it takes, with 95%
    intervals, how stable it is, and the parts of images where it is strongest: dark is where it is below half of its
    peak. The images are read again.

    Parameters
    ----------
    limit
        At most this many concepts.
    columns
        Cards beside each other.

    """
    if limit < 1 or columns < 1:
        raise InnersightError(f"limit={limit} and columns={columns} must be at least 1")
    order = found.order[:limit]
    cut = crops_of(found, SHOWN)
    lines = -(-len(order) // columns)
    width, height = WIDTH * columns, lines * HEIGHT + 0.4
    figure = new_figure(width, height)
    # Every card has the same place, whatever stands in it.
    figure.set_layout_engine("none")
    covered = found.to_json()["covered"]
    kept = "" if covered is None else f"  ·  alone they keep {covered:.0%} of the score"
    kept += f"  ·  {len(cut.lost)} images can no longer be read" * bool(cut.lost)
    figure.text(
        0.12 / width, 1 - 0.08 / height,
        f"{len(found)} concepts of {found.layer} ({found.factorization.kind})  ·  {found.scan.images:,} images  ·  "
        f"{found.variance.total:.0%} of the variance{kept}",
        ha="left", va="top", fontsize=10,
    )  # fmt: skip
    for place, concept in enumerate(order):
        line, column = divmod(place, columns)
        own = [i for i, row in enumerate(cut.rows) if row["concept"] == concept]
        corner = (column * WIDTH + 0.12, height - 0.4 - line * HEIGHT)
        _card(figure, corner, found, concept, [darkened(cut.pixels[i], resized(cut.masks[i], SIDE)) for i in own])
    return figure


def _card(figure: Any, corner: tuple[float, float], found: Concepts, concept: int, shown: list[np.ndarray]) -> None:
    """Draw a card. corner : its upper left, in inches from the lower left of the figure."""
    width, height = figure.get_size_inches()
    left, top = corner

    def axis(x: float, wide: float, *, y: float = 0.24, high: float = 0.72) -> Any:
        return figure.add_axes(((left + x) / width, (top - y - high) / height, wide / width, high / height))

    card = found.card(concept)
    label = "" if card["label"] is None else f"  {printable(card['label']['label'])} {card['label']['score']:.2f}"
    heading = {"ha": "left", "va": "top", "fontsize": 8}
    name = figure.text(left / width, (top - 0.05) / height, card["address"], fontweight="bold", **heading)
    figure.text((left + 1.45) / width, (top - 0.05) / height, label, color=FOR, **heading)
    stable = f"stable {card['halves']:.2f}  ·  {card['variance']:.0%} of the variance"
    figure.text((left + 4.5) / width, name.get_position()[1], stable, ha="right", va="top", fontsize=6.5, color=GREY)
    for place, pixels in enumerate(shown):
        one = axis(place * 0.76, 0.72)
        one.axis("off")
        one.imshow(pixels, interpolation="nearest")
    _classes(axis(4.68, 1.5, high=0.62), found, card["classes"])


def _classes(axis: Any, found: Concepts, classes: list[dict[str, Any]]) -> None:
    """Draw what the concept adds to the classes it adds most to."""
    most = max(abs(row["contribution"]["value"]) for row in classes)
    classes = [row for row in classes if abs(row["contribution"]["value"]) >= LITTLE * most] or classes[:1]
    for y, row in enumerate(classes):
        value, interval = row["contribution"]["value"], row["contribution"]["interval"]
        axis.barh(y, value, height=0.34, color=FOR if value >= 0 else AGAINST, alpha=0.75)
        if interval is not None:
            axis.plot(interval, [y, y], color="#222", linewidth=0.9)
        axis.text(0, y - 0.24, f"{printable(row['class'])[:24]}  {value:+.2f}", fontsize=6, va="bottom", ha="left")
    ends = [end for row in classes for end in row["contribution"]["interval"] or [row["contribution"]["value"]]]
    low, high = min(0.0, *ends), max(0.0, *ends)
    axis.set_xlim(low * 1.05, high * 1.05 if high > low else low + 1)
    axis.set_ylim(2.4, -0.75)
    axis.axvline(0, color="#868e96", linewidth=0.8)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=5.5, length=2, pad=1)
    axis.set_xlabel(found.model.head.unit, fontsize=5.5, labelpad=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
