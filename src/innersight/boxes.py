"""Boxes on images."""

from collections.abc import Sequence
from dataclasses import dataclass

from innersight.errors import InnersightError


@dataclass(frozen=True)
class Box:
    """Corners as fractions of an image's width and height, 0 to 1; (x0, y0) is the upper left one."""

    x0: float
    y0: float
    x1: float
    y1: float


def box_of(corners: Sequence[float], where: str) -> Box:
    """Return the box of four corners. Raises InnersightError, beginning with `where`, for what is none in an image."""
    x0, y0, x1, y1 = corners
    for x, y in ((x1, y1), (x0, y0)):
        if max(x, y) > 1 or min(x, y) < 0:
            raise InnersightError(
                f"{where}: corner ({x:g}, {y:g}) lies outside the image; corners are fractions of its width and "
                "height, 0 to 1: divide pixels by them"
            )
    if not (x0 < x1 and y0 < y1):  # also where one is not a number
        raise InnersightError(
            f"{where}: from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) is not a box: x0,y0 is its upper left corner"
        )
    return Box(x0, y0, x1, y1)


@dataclass(frozen=True)
class PixelBox:
    """A rectangle in source pixels; (left, top) inclusive, fractions of a pixel allowed."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in source pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in source pixels."""
        return self.bottom - self.top
