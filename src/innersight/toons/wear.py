"""Clothes and accessories, by kind. Units: half a head's width; the head's centre is the origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .canvas import Pen, Rgb, rgb, shade, tint
from .shapes import Point, Points, arc, limb, mirror, oval, path, smooth, star

GOLD = rgb("f6cd5b")
TRUNK: tuple[Point, ...] = (
    (0.38, 1.28), (0.8, 1.42), (1.14, 1.66), (1.24, 2.1), (1.16, 2.8), (1.12, 3.6), (1.2, 4.6), (1.35, 7.0),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colours and pose of one figure in one image; `light` is -1 when lit from the figure's left."""

    skin: Rgb
    hair: Rgb
    clothes: Rgb
    second: Rgb
    sleeve: Rgb
    head: Points
    turn: float
    light: float


@dataclass(frozen=True)
class Limb:
    """A length of arm: sleeve, the dress form inside it, and at its end perhaps a hand."""

    sleeve: Points
    form: Points
    hand: Points | None = None

    def mirrored(self) -> Limb:
        """Return the same on the figure's other side."""
        return Limb(mirror(self.sleeve), mirror(self.form), None if self.hand is None else mirror(self.hand))


SHOULDER = (0.94, 1.86)
ELBOW = (1.9, 2.7)
HAND = smooth(
    (1.8, 1.5), (1.62, 1.26), (1.54, 1.02), (1.68, 0.98), (1.8, 1.14), (1.8, 0.74), (1.96, 0.66), (2.06, 0.7),
    (2.22, 0.7), (2.28, 0.9), (2.26, 1.24), (2.14, 1.52),
)  # fmt: skip
HANGING = Limb(limb(SHOULDER, (1.5, 2.6), (1.4, 4.6), 0.34, 0.3), limb(SHOULDER, (1.5, 2.6), (1.4, 4.6), 0.24, 0.2))
UPPER = Limb(limb(SHOULDER, (1.5, 2.3), ELBOW, 0.34, 0.3), limb(SHOULDER, (1.5, 2.3), ELBOW, 0.24, 0.2))
WAVING = Limb(
    limb((1.84, 2.86), (2.1, 2.2), (1.98, 1.46), 0.28, 0.27), limb(ELBOW, (2.1, 2.2), (1.98, 1.5), 0.2, 0.18), HAND
)
AKIMBO = Limb(
    limb((1.86, 2.5), (2.0, 3.4), (1.2, 3.5), 0.28, 0.25),
    limb(ELBOW, (2.0, 3.4), (1.2, 3.5), 0.2, 0.17),
    oval(1.06, 3.52, 0.3, 0.24, 16),
)
ARMS: dict[str, tuple[Limb, Limb | None]] = {"down": (HANGING, None), "wave": (UPPER, WAVING), "hip": (UPPER, AKIMBO)}


@lru_cache(maxsize=16)
def trunk(width: float = 1.0) -> Points:
    """Outline of the trunk from the neck down past every frame."""
    right = smooth(*((x * width, y) for x, y in TRUNK), closed=False, n=4)
    return np.concatenate((right, mirror(right)[::-1]))


@lru_cache(maxsize=256)
def band(top: float, bottom: float, sag: float = 0.1, inset: float = 0.06) -> Points:
    """Return a stripe across the trunk, just inside its outline."""
    across, down = zip(*TRUNK, strict=True)
    a, b = (float(np.interp(y, down, across)) - inset for y in (top, bottom))
    upper = smooth((-a, top), (0, top + sag), (a, top), closed=False)
    lower = smooth((b, bottom), (0, bottom + sag), (-b, bottom), closed=False)
    return np.concatenate((upper, lower))


@lru_cache(maxsize=2)
def _dusk(side: float) -> Points:
    right = smooth(*TRUNK[2:], closed=False, n=4) - (0.05, 0.0)
    return np.concatenate((right, (right - (0.3, 0.0))[::-1])) * (side, 1.0)


def _both(pen: Pen, part: str, points: Points, colour: Rgb, *, edge: float = 1.0) -> None:
    pen.fill(part, points, colour, edge=edge)
    pen.fill(part, mirror(points), colour, edge=edge)


def _neckline(pen: Pen, look: Look, *points: Point) -> None:
    pen.fill("skin", smooth(*points), look.skin, edge=0.8)


def _round_collar(pen: Pen, look: Look, colour: Rgb) -> None:
    pen.fill("clothes", oval(0, 1.36, 0.54, 0.3, 20), colour)
    pen.fill("skin", oval(0, 1.28, 0.37, 0.24, 16), shade(look.skin, 0.2), edge=0.8)


def _cloth(pen: Pen, look: Look) -> None:
    pen.fill("clothes", trunk(), look.clothes)
    pen.fill("clothes", _dusk(-look.light), shade(look.clothes, 0.16), edge=0)


def _dress(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    _neckline(pen, look, (-0.6, 1.36), (0, 1.2), (0.6, 1.36), (0.44, 1.82), (0, 2.0), (-0.44, 1.82))
    for x, y in (
        (-0.75, 2.25),
        (0.0, 2.4),
        (0.75, 2.25),
        (-0.4, 2.85),
        (0.4, 2.85),
        (-0.8, 3.4),
        (0.0, 3.45),
        (0.8, 3.4),
    ):
        pen.fill("clothes", oval(x, y, 0.13, 0.13, 10), look.second, edge=0)


def _jacket(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    pen.fill("clothes", path((-0.42, 1.3), (0.42, 1.3), (0.3, 2.4), (0.2, 7), (-0.2, 7), (-0.3, 2.4)), look.second)
    pen.fill("skin", path((-0.32, 1.24), (0.32, 1.24), (0.0, 1.72)), shade(look.skin, 0.2), edge=0.8)
    lapel = path((0.34, 1.2), (0.66, 1.34), (0.9, 1.86), (0.66, 1.92), (0.72, 2.1), (0.24, 2.7))
    _both(pen, "clothes", lapel, shade(look.clothes, 0.12))
    for y in (3.0, 3.6):
        pen.fill("clothes", oval(0.4, y, 0.08, 0.08, 8), tint(look.clothes, 0.6), edge=0.6)


def _stripes(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    for i in range(6):
        pen.fill("clothes", band(1.78 + 0.48 * i, 2.0 + 0.48 * i), look.second, edge=0)
    _round_collar(pen, look, look.second)


def _zigzag(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    teeth = tuple((-1.05 + 0.3 * i, 2.12 + (0.22 if i % 2 else 0.0)) for i in range(8))
    pen.fill("clothes", path(*teeth, *((x, y + 0.24) for x, y in teeth[::-1])), look.second, edge=0)
    pen.fill("clothes", band(2.85, 3.0), look.second, edge=0)
    pen.fill("clothes", smooth((-0.5, 1.0), (0, 1.08), (0.5, 1.0), (0.58, 1.42), (0, 1.6), (-0.58, 1.42)), look.clothes)
    for x in (-0.3, 0.0, 0.3):
        pen.stroke("clothes", path((x, 1.14), (x * 1.1, 1.5)), shade(look.clothes, 0.4), 0.7)


def _hoodie(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    pen.fill(
        "clothes",
        smooth((-0.98, 1.5), (-0.5, 1.0), (0.5, 1.0), (0.98, 1.5), (0.56, 1.92), (0, 2.06), (-0.56, 1.92)),
        shade(look.clothes, 0.2),
    )
    pen.fill(
        "skin",
        smooth((-0.4, 1.2), (0, 1.1), (0.4, 1.2), (0.26, 1.6), (0, 1.72), (-0.26, 1.6)),
        shade(look.skin, 0.2),
        edge=0.8,
    )
    for x in (-0.3, 0.3):
        pen.stroke("clothes", path((x, 1.9), (x * 1.15, 2.6)), look.second, 1.5)
    pen.fill("clothes", path((-0.66, 3.1), (0.66, 3.1), (0.9, 3.9), (-0.9, 3.9)), shade(look.clothes, 0.12))


def _dungarees(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    _round_collar(pen, look, look.clothes)
    pen.fill("clothes", band(3.3, 6.9, 0.0, 0.03), look.second)
    _both(pen, "clothes", path((0.42, 1.42), (0.7, 1.44), (0.68, 2.4), (0.44, 2.4)), look.second)
    pen.fill("clothes", path((-0.76, 2.25), (0.76, 2.25), (0.92, 3.6), (-0.92, 3.6)), look.second)
    pen.fill(
        "clothes",
        path((-0.32, 2.6), (0.32, 2.6), (0.28, 3.05), (0, 3.16), (-0.28, 3.05)),
        tint(look.second, 0.2),
        edge=0.7,
    )
    for x in (-0.56, 0.56):
        pen.fill("clothes", oval(x, 2.36, 0.11, 0.11, 10), GOLD, edge=0.6)


def _robe(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    pen.fill("clothes", path((-0.14, 1.5), (0.14, 1.5), (0.16, 7), (-0.16, 7)), look.second, edge=0.8)
    for y in (2.6, 3.1, 3.6):
        pen.fill("clothes", oval(0, y, 0.07, 0.07, 8), shade(look.clothes, 0.2), edge=0)


def _braces(pen: Pen, look: Look) -> None:
    _cloth(pen, look)
    pen.stroke("clothes", path((0, 1.6), (0, 7)), shade(look.clothes, 0.35), 0.9)
    _both(pen, "clothes", path((0.6, 1.4), (0.84, 1.48), (0.78, 7.0), (0.54, 7.0)), look.second)
    _both(pen, "clothes", path((0.0, 1.62), (0.3, 1.12), (0.56, 1.3), (0.34, 1.76)), tint(look.clothes, 0.4))


CLOTHES: dict[str, Callable[[Pen, Look], None]] = {
    "dress": _dress,
    "jacket": _jacket,
    "stripes": _stripes,
    "zigzag": _zigzag,
    "hoodie": _hoodie,
    "dungarees": _dungarees,
    "robe": _robe,
    "braces": _braces,
}
RAGLAN = frozenset({"stripes"})


def _scarf_back(pen: Pen, look: Look, colour: Rgb) -> None:
    pen.fill(
        "accessory",
        smooth(
            (0, -1.5),
            (0.9, -1.2),
            (1.36, -0.3),
            (1.34, 0.6),
            (1.2, 1.3),
            (0, 1.5),
            (-1.2, 1.3),
            (-1.34, 0.6),
            (-1.36, -0.3),
            (-0.9, -1.2),
        ),
        shade(colour, 0.15),
    )


def _scarf_body(pen: Pen, look: Look, colour: Rgb) -> None:
    pen.fill(
        "accessory",
        smooth((-1.06, 0.7), (0, 0.9), (1.06, 0.7), (1.24, 1.5), (1.0, 2.0), (0.2, 2.36), (-0.7, 2.05), (-1.24, 1.5)),
        colour,
    )
    for fold in (
        ((-0.95, 1.2), (-0.2, 1.7), (0.7, 1.75)),
        ((-0.9, 1.6), (-0.3, 2.0), (0.3, 2.05)),
        ((1.0, 1.1), (0.7, 1.4), (0.2, 1.5)),
    ):
        pen.stroke("accessory", smooth(*fold, closed=False), shade(colour, 0.4), 1.0)


def _scarf(pen: Pen, look: Look, colour: Rgb) -> None:
    outer = smooth(
        (-1.16, 1.0), (-1.32, 0.1), (-1.1, -0.85), (0, -1.5), (1.1, -0.85), (1.32, 0.1), (1.16, 1.0), closed=False
    )
    inner = smooth(
        (0.86, 0.92), (0.96, 0.1), (0.84, -0.55), (0, -0.98), (-0.84, -0.55), (-0.96, 0.1), (-0.86, 0.92), closed=False
    )
    pen.fill("accessory", np.concatenate((outer, inner)), colour)
    start = 205 if look.light < 0 else 290
    pen.stroke("accessory", arc(0, -0.08, 1.1, 1.16, start, start + 45, 9), tint(colour, 0.35), 1.7)


def _brooch(pen: Pen, look: Look, colour: Rgb) -> None:
    pen.fill("accessory", star(0.42, 1.78, 0.32, 0.2, 8), colour, edge=0.8)
    pen.fill("accessory", oval(0.42, 1.78, 0.11, 0.11, 10), (214, 69, 63), edge=0.6)


def _bowtie(pen: Pen, look: Look, colour: Rgb) -> None:
    _both(
        pen,
        "accessory",
        smooth((0.05, 1.5), (0.5, 1.18), (0.76, 1.24), (0.8, 1.56), (0.74, 1.86), (0.48, 1.86)),
        colour,
    )
    pen.fill("accessory", oval(0, 1.52, 0.18, 0.2, 14), shade(colour, 0.15))


def _flower(pen: Pen, look: Look, colour: Rgb) -> None:
    pen = pen.shifted(0.74, -0.84)
    for i in range(5):
        x, y = 0.3 * np.sin(i * 1.2566), -0.3 * np.cos(i * 1.2566)
        pen.fill("accessory", oval(round(x, 3), round(y, 3), 0.24, 0.24, 14), colour)
    pen.fill("accessory", oval(0, 0, 0.17, 0.17, 12), GOLD, edge=0.7)


def _patch(pen: Pen, look: Look, colour: Rgb) -> None:
    left, right = _temples(look)
    for strap in (((0.2, -0.22), (-0.4, -0.48), (left, -0.6)), ((0.6, -0.2), (0.7, -0.34), (right, -0.44))):
        pen.stroke("accessory", smooth(*strap, closed=False), colour, 1.7)
    cover = smooth((0.1, -0.24), (0.42, -0.32), (0.74, -0.22), (0.7, 0.22), (0.42, 0.4), (0.14, 0.22))
    pen.fill("accessory", cover, colour)
    pen.stroke("accessory", arc(0.42, 0.02, 0.2, 0.2, 190, 280, 8), tint(colour, 0.4), 0.9)


def _glasses(pen: Pen, look: Look, colour: Rgb) -> None:
    for x, temple in zip((-0.41, 0.41), _temples(look), strict=True):
        ring = np.concatenate((arc(x, 0.04, 0.43, 0.44, 0, 360, 26), arc(x, 0.04, 0.31, 0.32, 360, 0, 26)))
        pen.fill("accessory", ring, colour, edge=0)
        pen.stroke("accessory", path((x * 2.0, 0.0), (temple, -0.06)), colour, 1.7)
    pen.stroke("accessory", arc(0, 0.04, 0.12, 0.1, 200, 340, 6), colour, 1.7)


def _temples(look: Look) -> tuple[float, float]:
    """Return where a turned head's outline is, left and right, as seen from its slid features."""
    return -0.92 - 0.2 * look.turn, 0.92 - 0.2 * look.turn


def _tophat(pen: Pen, look: Look, colour: Rgb) -> None:
    pen.fill(
        "accessory",
        smooth((-0.78, -0.8), (-0.84, -1.6), (-0.96, -2.2), (0, -2.34), (0.96, -2.2), (0.84, -1.6), (0.78, -0.8)),
        colour,
    )
    pen.fill(
        "accessory",
        path((-0.79, -1.24), (0, -1.12), (0.79, -1.24), (0.78, -0.88), (0, -0.74), (-0.78, -0.88)),
        GOLD,
        edge=0.7,
    )
    x = -0.55 if look.light < 0 else 0.55
    pen.stroke("accessory", path((x * 1.12, -2.05), (x, -1.4)), tint(colour, 0.35), 1.8)
    pen.fill(
        "accessory",
        smooth(
            (-1.42, -0.94),
            (-0.8, -0.86),
            (0, -0.78),
            (0.8, -0.86),
            (1.42, -0.94),
            (1.3, -0.66),
            (0.7, -0.5),
            (0, -0.44),
            (-0.7, -0.5),
            (-1.3, -0.66),
        ),
        shade(colour, 0.12),
    )


def _cap(pen: Pen, look: Look, colour: Rgb) -> None:
    dome = np.concatenate(
        (arc(0, -0.5, 1.14, 1.0, 180, 360, 20), smooth((1.12, -0.5), (0, -0.62), (-1.12, -0.5), closed=False))
    )
    pen.fill("accessory", dome, colour)
    pen.stroke("accessory", arc(0, -0.6, 0.5, 0.86, 200, 268, 8), shade(colour, 0.4), 0.8)
    pen.stroke("accessory", arc(0, -0.6, 0.5, 0.86, 272, 340, 8), shade(colour, 0.4), 0.8)
    pen.fill("accessory", oval(0, -1.5, 0.13, 0.09, 10), shade(colour, 0.2))
    x = 0.25 * look.turn
    pen.fill("accessory", oval(x * 0.6, -0.98, 0.27, 0.25, 16), (251, 241, 220), edge=0.7)
    pen.fill(
        "accessory",
        smooth(
            (-1.06, -0.56),
            (x, -0.74),
            (1.06, -0.56),
            (1.16 + x, -0.3),
            (0.6 + x, -0.32),
            (x, -0.36),
            (-0.6 + x, -0.32),
            (-1.16 + x, -0.3),
        ),
        shade(colour, 0.3),
    )


def _headband(pen: Pen, look: Look, colour: Rgb) -> None:
    upper = smooth((-1.1, -0.42), (-0.6, -0.84), (0, -0.98), (0.6, -0.84), (1.1, -0.42), closed=False)
    lower = smooth((1.12, -0.16), (0.6, -0.58), (0, -0.72), (-0.6, -0.58), (-1.12, -0.16), closed=False)
    pen.fill("accessory", np.concatenate((upper, lower)), colour)
    pen.fill("accessory", star(0, -0.84, 0.26, 0.18, 4), (127, 214, 214))


def _headphones(pen: Pen, look: Look, colour: Rgb) -> None:
    over = np.concatenate((arc(0, -0.1, 1.28, 1.42, 186, 354, 22), arc(0, -0.1, 1.1, 1.2, 354, 186, 22)))
    pen.fill("accessory", over, colour)
    for x in (-1.14, 1.14):
        pen.fill("accessory", oval(x, 0.16, 0.3, 0.44, 18), colour)
        pen.fill("accessory", oval(x, 0.16, 0.15, 0.26, 12), tint(colour, 0.45), edge=0.6)


Wear = Callable[[Pen, Look, Rgb], None]
BEHIND: dict[str, Wear] = {"scarf": _scarf_back}
ON_BODY: dict[str, Wear] = {"scarf": _scarf_body, "brooch": _brooch, "bowtie": _bowtie}
ON_FACE: dict[str, Wear] = {"patch": _patch, "glasses": _glasses}
ON_HEAD: dict[str, Wear] = {
    "flower": _flower,
    "tophat": _tophat,
    "cap": _cap,
    "headband": _headband,
    "headphones": _headphones,
    "scarf": _scarf,
}
