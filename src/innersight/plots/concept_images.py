"""Images as concepts: each location in the colour of its strongest concept, with what each adds to the score."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.colors import to_rgb

from innersight.activations import seen_array
from innersight.concepts import ConceptImages
from innersight.concepts.crops import crops_of
from innersight.errors import printable
from innersight.render.figures import new_figure
from innersight.result import figures
from innersight.scalars import at_least_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Distinct to colour-blind readers too: Okabe and Ito 2008, https://jfly.uni-koeln.de/color; grey is no concept here.
COLOURS = ("#e69f00", "#0072b2", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#f0e442", "#7f3c8d")
SIDE, LEGEND, LINE = 2.5, 2.9, 0.36
WEAK = 0.1  # of the strongest cell of the image; one below is left without colour
GREY = "#555"


@figures.register("Images as concepts")
def concept_images(found: ConceptImages, *, limit: int = 6, columns: int = 2) -> "Figure":
    """Draw each image, its concepts in colour over it, and a legend: an example, the label, and the contribution.

    A cell has the colour of its strongest concept among those shown, the more opaque the stronger it is.

    Parameters
    ----------
    limit
        At most this many concepts of an image, up to 8.
    columns
        Images beside each other.

    """
    at_least_one(limit=limit, columns=columns)
    limit = min(limit, len(COLOURS))
    cut = crops_of(found.concepts, 1)
    best = {row["concept"]: cut.pixels[i] for i, row in enumerate(cut.rows)}
    lines = -(-len(found.images) // columns)
    wide, high = 2 * SIDE + LEGEND + 0.5, max(SIDE + 0.75, LINE * (limit + 1) + 0.8)
    width, height = columns * wide, lines * high
    figure = new_figure(width, height)
    # Every image has the same place, whatever stands in its legend.
    figure.set_layout_engine("none")
    for i in range(len(found.images)):
        line, column = divmod(i, columns)
        _image(_Place(figure, column * wide + 0.15, height - line * high - 0.1), found, i, limit, best)
    return figure


class _Place:
    """A part of a figure, measured in inches from its upper left corner."""

    def __init__(self, figure: Any, left: float, top: float) -> None:
        self.figure, self._left, self._top = figure, left, top
        self._width, self._height = figure.get_size_inches()

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (self._left + x) / self._width, (self._top - y) / self._height

    def axis(self, x: float, y: float, width: float, height: float) -> Any:
        left, bottom = self.at(x, y + height)
        axis = self.figure.add_axes((left, bottom, width / self._width, height / self._height))
        axis.set_axis_off()
        return axis

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.figure.text(*self.at(x, y), text, va=style.pop("va", "center"), **style)


def _image(place: _Place, found: ConceptImages, i: int, limit: int, best: dict[int, np.ndarray]) -> None:
    parts, model = found.contributions, found.concepts.model
    groups, label = found.groups(i, limit), model.labels[int(parts.classes[i])]
    seen = seen_array(found.images[i], model)
    place.text(0, 0.16, f"{printable(found.images[i].name)[:40]}", fontsize=9, fontweight="bold")
    place.text(SIDE + 0.1, 0.16, f"{printable(label)}: {float(parts.score[i]):.2f} {model.head.unit}", fontsize=9)
    place.axis(0, 0.36, SIDE, SIDE).imshow(seen)
    place.axis(SIDE + 0.1, 0.36, SIDE, SIDE).imshow(coloured(seen, parts.maps[i], groups))
    left = 2 * SIDE + 0.25
    for line, concept in enumerate(groups):
        y = 0.36 + LINE * line
        place.axis(left, y, 0.1, LINE - 0.05).set_facecolor("none")
        place.axis(left, y, 0.09, LINE - 0.05).imshow([[to_rgb(COLOURS[line])]], aspect="auto")
        if concept in best:
            place.axis(left + 0.13, y, LINE - 0.05, LINE - 0.05).imshow(best[concept])
        own = found.concepts.label(concept)
        name = f"{found.concepts.name}:{concept}" + ("" if own is None else f"  {printable(own['label'])}")
        place.text(left + 0.56, y + 0.16, name, fontsize=8)
        place.text(left + LEGEND - 0.1, y + 0.16, f"{float(parts.values[i, concept]):+.2f}", fontsize=8, ha="right")
    shown = float(parts.values[i, list(groups)].sum())
    others = float(parts.values[i].sum()) - shown
    rest = float(parts.rest[i] + parts.missing[i])
    text = f"other concepts {others:+.2f},  without any concept {rest:+.2f}"
    place.text(left, 0.5 + LINE * len(groups), text, fontsize=7, color=GREY)


def coloured(seen: np.ndarray, maps: torch.Tensor, groups: tuple[int, ...]) -> np.ndarray:
    """Return an image (H, W, 3) in grey with each cell in the colour of its strongest concept; uint8."""
    own = maps[list(groups)].double().clamp(min=0)
    value, which = own.max(0)
    strength = (value / own.amax().clamp(min=torch.finfo(torch.float64).tiny)).numpy()
    colours = np.array([to_rgb(COLOURS[k]) for k in range(len(groups))])[which.numpy()]
    height, width = seen.shape[:2]
    y = np.arange(height) * strength.shape[0] // height
    x = np.arange(width) * strength.shape[1] // width
    grey = seen.mean(2, keepdims=True).repeat(3, 2) / 255 * 0.75 + 0.2
    shown = np.clip((strength[y][:, x] - WEAK) / (1 - WEAK), 0, 1)
    opacity = (0.85 * shown**0.6)[:, :, None]
    mixed: np.ndarray = np.rint(255 * (grey * (1 - opacity) + colours[y][:, x] * opacity)).astype(np.uint8)
    return mixed
