"""One canvas of ink numbers: colour and part of every sample come from the same drawing.

Shapes are painted once, as numbers, three samples to a pixel side. A palette says which colour and which part
each number stands for, so the image and its masks cannot disagree, and light is the palette's matter alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageDraw

from .shapes import Points

Rgb = tuple[int, int, int]
Part = str

PARTS = ("background", "skin", "hair", "eyes", "mouth", "clothes", "accessory")
SAMPLES = 3
OUTLINE: Rgb = (44, 34, 62)
BLANK: Rgb = (176, 176, 176)


def rgb(text: str) -> Rgb:
    """Colour of six hexadecimal digits.

    >>> rgb("ff8000")
    (255, 128, 0)
    """
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


@lru_cache(4096)
def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Colour `share` of the way (0 to 1) from the first to the second.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    r, g, b = (round(x + (y - x) * share) for x, y in zip(first, second, strict=True))
    return r, g, b


def shade(colour: Rgb, share: float = 0.25) -> Rgb:
    """Colour drawn towards the outline colour."""
    return mix(colour, OUTLINE, share)


def tint(colour: Rgb, share: float = 0.25) -> Rgb:
    """Colour drawn towards white."""
    return mix(colour, (255, 255, 255), share)


@dataclass(frozen=True)
class Frame:
    """An affine map from a drawing's own coordinates to canvas samples: `points @ matrix + offset`."""

    matrix: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def flat(self, points: Points) -> list[float]:
        """Map points to the flat list x0, y0, x1, y1, … that PIL draws fastest."""
        return (points @ self.matrix + self.offset).ravel().tolist()

    def shifted(self, dx: float, dy: float) -> Frame:
        """Return the frame with its origin moved by (dx, dy) of its own units."""
        return Frame(self.matrix, np.array((dx, dy)) @ self.matrix + self.offset)

    def scaled(self, sx: float, sy: float) -> Frame:
        """Return the frame with its units stretched about its origin."""
        return Frame(np.array(((sx, 0.0), (0.0, sy))) @ self.matrix, self.offset)

    def turned(self, degrees: float, x: float = 0.0, y: float = 0.0) -> Frame:
        """Return the frame turned clockwise about the point (x, y) of its own units."""
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.array(((c, s), (-s, c)))
        pivot = np.array((x, y))
        return Frame(turn @ self.matrix, (pivot - pivot @ turn) @ self.matrix + self.offset)


class Canvas:
    """A square of ink numbers and the palette that gives them meaning."""

    def __init__(self, size: int, removed: Part | None, gain: tuple[float, float, float]) -> None:
        self.size = size
        self.removed = removed
        self.gain = gain
        self.image = PILImage.new("L", (size * SAMPLES, size * SAMPLES), 0)
        self.brush = ImageDraw.Draw(self.image)
        self.inks: dict[tuple[Part, Rgb], int] = {("background", BLANK): 0}

    def ink(self, part: Part, colour: Rgb) -> int:
        """Return the number that stands for this colour of this part."""
        key = (part, colour)
        found = self.inks.get(key)
        if found is None:
            found = self.inks[key] = len(self.inks)
            if found > 255:
                raise ValueError("a toon may use at most 256 inks; draw its background with fewer colours")
        return found

    def pen(self) -> Pen:
        """Return a pen whose unit square is the whole image."""
        side = float(self.size * SAMPLES)
        return Pen(self, Frame(np.array(((side, 0.0), (0.0, side))), np.zeros(2)), side * 0.011)

    def develop(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return pixels (size, size, 3), part indices (size, size), parts touched as bits (size, size)."""
        colours = np.array([c for _, c in self.inks], dtype=np.float64) * self.gain
        index = np.array([PARTS.index(p) for p, _ in self.inks], dtype=np.uint8)
        numbers = np.asarray(self.image)
        bits = (np.uint8(1) << index).take(numbers)
        rows = bits[0::3] | bits[1::3] | bits[2::3]
        touched = rows[:, 0::3] | rows[:, 1::3] | rows[:, 2::3]
        parts = index.take(numbers[1::3, 1::3])
        image = self.image.copy()
        image.putpalette(np.clip(np.rint(colours), 0, 255).astype(np.uint8).tobytes())
        pixels = np.array(image.convert("RGB").reduce(SAMPLES))
        return pixels, parts, touched


@dataclass(frozen=True)
class Pen:
    """Draws shapes given in a frame's units on a canvas; parts that were removed leave no mark."""

    canvas: Canvas
    frame: Frame
    weight: float

    def at(self, frame: Frame) -> Pen:
        """Return the same pen in another frame."""
        return Pen(self.canvas, frame, self.weight)

    def shifted(self, dx: float, dy: float) -> Pen:
        """Return the pen with its origin moved."""
        return self.at(self.frame.shifted(dx, dy))

    def fill(self, part: Part, points: Points, colour: Rgb, *, edge: float = 1.0) -> None:
        """Paint a closed shape, with a dark outline of `edge` times the pen's weight (0: none)."""
        canvas = self.canvas
        if part == canvas.removed:
            return
        flat = self.frame.flat(points)
        canvas.brush.polygon(flat, fill=canvas.ink(part, colour))
        if edge:
            line = canvas.ink(part, mix(colour, OUTLINE, 0.82))
            canvas.brush.line(flat + flat[:4], fill=line, width=max(1, round(self.weight * edge)))

    def stroke(self, part: Part, points: Points, colour: Rgb, weight: float = 1.0) -> None:
        """Draw an open line of `weight` times the pen's weight."""
        canvas = self.canvas
        if part == canvas.removed:
            return
        flat = self.frame.flat(points)
        canvas.brush.line(flat, fill=canvas.ink(part, colour), width=max(1, round(self.weight * weight)))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb) -> None:
        """Paint an upright rectangle of background; the frame must not be turned."""
        left, top, right, bottom = self.frame.flat(np.array(((x0, y0), (x1, y1)), dtype=np.float64))
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        self.canvas.brush.rectangle(corners, fill=self.canvas.ink("background", colour))

    def fade(self, y0: float, y1: float, upper: Rgb, lower: Rgb, bands: int = 20) -> None:
        """Paint background from edge to edge that goes from one colour to another."""
        step = (y1 - y0) / bands
        for i in range(bands):
            colour = mix(upper, lower, (i + 0.5) / bands)
            self.box(0.0, y0 + i * step, 1.0, y0 + (i + 1) * step + 0.01, colour)
