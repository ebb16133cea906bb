"""Titles of figures: broken into lines where they would be cut at the edge, or run into the title of a neighbour."""

import re
from collections.abc import Iterator
from typing import Any

_PARTS = re.compile(r"(?<=[\s_./:,;-])")


def fit_titles(figure: Any, renderer: Any) -> None:
    """Break the titles of a figure and of its axes into lines that have room once it is laid out."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    for part in _parts(figure):
        if part._suptitle is not None:
            x = part._suptitle.get_window_extent(renderer)
            half = 2 * min(figure.bbox.x1 - (x.x0 + x.x1) / 2, (x.x0 + x.x1) / 2 - figure.bbox.x0)
            room = half if part._suptitle.get_horizontalalignment() == "center" else figure.bbox.x1 - max(x.x0, 0)
            _break(part._suptitle, min(room, part.bbox.width), renderer)
    boxes = [
        (axis, axis.get_window_extent(renderer)) for axis in figure.findobj(lambda one: hasattr(one, "_left_title"))
    ]
    for axis, box in boxes:
        beside = [other for _, other in boxes if other is not box and other.y0 < box.y1 and other.y1 > box.y0]
        left = max([(other.x1 + box.x0) / 2 for other in beside if other.x1 <= box.x0 + 1], default=figure.bbox.x0)
        right = min([(other.x0 + box.x1) / 2 for other in beside if other.x0 >= box.x1 - 1], default=figure.bbox.x1)
        middle = (box.x0 + box.x1) / 2
        _break(axis.title, 2 * min(middle - left, right - middle), renderer)
        if not axis._right_title.get_text():
            _break(axis._left_title, right - box.x0, renderer)


def _parts(figure: Any) -> Iterator[Any]:
    yield figure
    for part in figure.subfigs:
        yield from _parts(part)


def _break(title: Any, room: float, renderer: Any) -> None:
    text = title.get_text()
    if not text or room <= 0:
        return

    def width(line: str) -> float:
        return float(renderer.get_text_width_height_descent(line, title.get_fontproperties(), False)[0])

    lines: list[str] = []
    for line in text.split("\n"):
        own = ""
        # What follows a break is a word, or a part of a name that ends in a separator.
        for part in _PARTS.split(line):
            if own and width((own + part).rstrip()) > room:
                lines.append(own.rstrip())
                own = part
            else:
                own += part
        lines.append(own)
    title.set_text("\n".join(lines))
