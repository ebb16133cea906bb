"""Regions: the boxes of each image, and how much of each pixel and location they cover."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor

from innersight.boxes import Box, box_of
from innersight.brief import brief
from innersight.errors import InnersightError, printable
from innersight.image import Image
from innersight.input_spec import InputSpec
from innersight.inputs import read_one

if TYPE_CHECKING:
    Asked = str | tuple[str | Path | Image, tuple[float, float, float, float]]

_BOX = re.compile(r"(.+)@([-+\d.,\seE]*)", re.DOTALL)
WHOLE = Box(0, 0, 1, 1)


@dataclass(frozen=True, eq=False)
class Query:
    """An image with boxes that show the object, and boxes that do not.

    Where it has `like`, all other locations count as not showing it; where it has none, only those in `but_not` do.

    Attributes
    ----------
    image : Image
        The image.
    like : tuple of Box
        Fractions of width and height, 0 to 1, of the object.
    but_not : tuple of Box
        The same of what is not the object.

    """

    image: Image
    like: tuple[Box, ...] = ()
    but_not: tuple[Box, ...] = ()

    __repr__ = brief


def parse_region(text: str) -> tuple[str, Box | None]:
    """Return the image and the box of a text `IMAGE@x0,y0,x1,y1`.

    Parameters
    ----------
    text
        A file, and the corners of a box as fractions of width and height, 0 to 1.

    Returns
    -------
    image : str
        The file.
    box : Box or None
        None where no box follows.

    Raises
    ------
    InnersightError
        For four numbers that are no box within the image, and for another count of numbers.

    Examples
    --------
    >>> from innersight.find import parse_region
    >>> parse_region("a.jpg@0.2,0.1,0.6,0.5")
    ('a.jpg', Box(x0=0.2, y0=0.1, x1=0.6, y1=0.5))

    """
    match = _BOX.fullmatch(text)
    if not match:
        return text, None
    shown = printable(text)
    try:
        corners = tuple(float(number) for number in match[2].split(","))
    except ValueError as error:
        raise InnersightError(f"{shown!r}: {match[2]!r} is not four numbers; write IMAGE@x0,y0,x1,y1") from error
    return match[1], _region(corners, shown)


def _region(corners: Sequence[float], shown: str) -> Box:
    if len(corners) != 4:
        raise InnersightError(f"{shown!r}: a box takes four numbers, not {len(corners)}; write IMAGE@x0,y0,x1,y1")
    return box_of(corners, repr(shown))


def several(asked: Any) -> list[Any]:
    """Return one region or several as a list; a pair of image and corners is one."""
    pair = isinstance(asked, tuple) and len(asked) == 2 and not isinstance(asked[1], str | Path | Image | tuple)
    pair = pair or (isinstance(asked, tuple) and len(asked) == 2 and _corners(asked[1]))
    one = isinstance(asked, str | Path | Image | PILImage.Image | np.ndarray | Tensor) or not isinstance(
        asked, Iterable
    )
    return [asked] if pair or one else list(asked)


def _corners(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(number, int | float) for number in value)


def read_queries(spec: InputSpec, like: Sequence[Any], but_not: Sequence[Any]) -> tuple[Query, ...]:
    """Return each image once with all of its boxes, those with `like` first."""
    found: dict[Any, Query] = {}
    for kind, several in (("like", like), ("but_not", but_not)):
        for asked in several:
            source, box = _asked(asked)
            if box is None and kind == "like":
                raise InnersightError(f"like={printable(source)!r} has no box; write IMAGE@x0,y0,x1,y1, 0 to 1")
            key = os.path.realpath(source) if isinstance(source, str | Path) else id(source)
            query = found.get(key) or Query(read_one(source, spec))
            if kind == "like":
                found[key] = replace(query, like=(*query.like, box or WHOLE))
            else:
                found[key] = replace(query, but_not=(*query.but_not, box or WHOLE))
    queries = sorted(found.values(), key=lambda query: not query.like)
    if not like:
        raise InnersightError("find needs a region: give like=['IMAGE@x0,y0,x1,y1'], 0 to 1 (--like)")
    for query in queries:
        if query.like and not coverage(query, spec)[0].any():
            why = (
                "--but-not covers all of it"
                if query.but_not
                else "it lies outside of the part that the network is shown"
            )
            raise InnersightError(f"{query.image.name}: the region is empty: {why}; choose another box")
    return tuple(queries)


def _asked(asked: Any) -> tuple[Any, Box | None]:
    if isinstance(asked, str):
        return parse_region(asked)
    if isinstance(asked, tuple):
        if len(asked) != 2 or not _corners(asked[1]):
            raise InnersightError(f"{printable(asked)!r} is not a region; give (image, (x0, y0, x1, y1))")
        source, corners = asked
        return source, _region(corners, printable(source.name if isinstance(source, Image) else source))
    return asked, None


def coverage(query: Query, spec: InputSpec) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Return how much of each pixel of the network's input lies in the region, and how much counts at all, 0 to 1."""
    inside = _union(query.like, query.image, spec)
    excluded = _union(query.but_not, query.image, spec)
    return (inside - excluded).clamp(min=0), torch.ones_like(inside) if query.like else excluded


def _union(boxes: Sequence[Box], image: Image, spec: InputSpec) -> Float[Tensor, "H W"]:
    seen = image.box(spec)
    total = torch.zeros(spec.height, spec.width)
    for box in boxes:
        across = _overlap(box.x0 * image.width, box.x1 * image.width, seen.left, seen.width, spec.width)
        down = _overlap(box.y0 * image.height, box.y1 * image.height, seen.top, seen.height, spec.height)
        total = torch.maximum(total, down[:, None] * across)
    return total


def _overlap(low: float, high: float, start: float, length: float, count: int) -> Float[Tensor, " count"]:
    """Return how much of each of `count` equal cells of an interval lies between low and high, 0 to 1."""
    edges = start + torch.arange(count + 1, dtype=torch.float64) * (length / count)
    overlap = edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)
    return (overlap.clamp(min=0) / (length / count)).float()
