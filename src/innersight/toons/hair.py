"""Hair, by style: `BACK` goes behind the body, `FRONT` (every style has one) over the face.

Units: half a head's width; the head's centre is the origin.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .canvas import Pen, Rgb, shade, tint
from .shapes import Point, Points, arc, mirror, oval, path, scallop, smooth
from .wear import Look

Style = Callable[[Pen, Look], None]


def cap(*hairline: Point, rx: float = 1.07, ry: float = 1.27, start: float = 185.0, stop: float = 355.0) -> Points:
    """Hair that follows the skull above, from left to right, and the hairline below, from right to left."""
    return np.concatenate((arc(0, 0, rx, ry, start, stop, 22), smooth(*hairline, closed=False, n=4)))


def _pair(pen: Pen, points: Points, colour: Rgb, *, edge: float = 1.0) -> None:
    pen.fill("hair", points, colour, edge=edge)
    pen.fill("hair", mirror(points), colour, edge=edge)


def _shine(pen: Pen, look: Look, rx: float = 0.8, ry: float = 1.0, weight: float = 1.7) -> None:
    start = 205 if look.light < 0 else 290
    pen.stroke("hair", arc(0, 0, rx, ry, start, start + 45, 9), tint(look.hair, 0.38), weight)


def _swirl_back(pen: Pen, look: Look) -> None:
    pen.fill("hair", oval(0, -0.25, 1.14, 1.0), shade(look.hair))


def _swirl(pen: Pen, look: Look) -> None:
    dark, bright = shade(look.hair, 0.22), tint(look.hair, 0.35)
    pen.fill(
        "hair", smooth((-0.2, -2.1), (-0.1, -2.5), (0.22, -2.62), (0.38, -2.45), (0.2, -2.4), (0.3, -2.1)), look.hair
    )
    tiers = ((0.04, -2.02, 0.5, 0.32), (-0.03, -1.66, 0.76, 0.38), (0.03, -1.26, 0.96, 0.42), (0.0, -0.82, 1.13, 0.46))
    for x, y, rx, ry in tiers:
        pen.fill("hair", oval(x, y, rx, ry), look.hair)
        pen.stroke("hair", arc(x, y - 0.02, rx * 0.86, ry * 0.68, 25, 155, 10), dark, 1.3)
        pen.stroke(
            "hair",
            arc(x, y, rx * 0.74, ry * 0.6, 200, 250) if look.light < 0 else arc(x, y, rx * 0.74, ry * 0.6, 290, 340),
            bright,
            1.6,
        )
    wisp = smooth((0.86, -0.7), (1.1, -0.5), (1.08, 0.1), (0.94, 0.42), (0.9, -0.1))
    _pair(pen, wisp, look.hair)


def _mohawk(pen: Pen, look: Look) -> None:
    lean = 0.14 * look.turn
    teeth = [
        (reach * math.sin(angle) - lean * reach / 2, -0.55 - reach * math.cos(angle))
        for angle, reach in (
            (math.radians(-38 + 7.6 * i), 1.5 if i % 2 else 1.74 - 0.02 * abs(i - 5)) for i in range(11)
        )
    ]
    pen.fill(
        "hair", path((-0.34, -0.56), (-0.56, -1.05), *teeth, (0.56, -1.05), (0.34, -0.56), (0.0, -0.44)), look.hair
    )
    for x, top, colour in (
        (-0.46, -1.5, shade(look.hair, 0.22)),
        (0.5, -1.5, shade(look.hair, 0.22)),
        (-0.2, -1.86, tint(look.hair, 0.3)),
        (0.2, -1.86, tint(look.hair, 0.3)),
    ):
        pen.stroke("hair", smooth((x * 0.4, -0.8), (x * 0.7, -1.2), (x - lean * 0.8, top), closed=False), colour, 1.3)
    stubble = smooth((0.62, -0.86), (0.9, -0.5), (0.98, -0.1), (0.86, -0.2), (0.72, -0.55))
    _pair(pen, stubble, shade(look.hair, 0.35), edge=0)


def _moustache_back(pen: Pen, look: Look) -> None:
    for side in (-1, 1):
        pen.fill("hair", scallop(1.02 * side, 0.12, 0.38, 0.5, 7, 0.1), look.hair)


def _moustache(pen: Pen, look: Look) -> None:
    pen = pen.shifted(0.15 * look.turn, 0.0)
    wing = smooth(
        (0.0, 0.42),
        (0.3, 0.36),
        (0.62, 0.52),
        (0.92, 0.44),
        (1.02, 0.22),
        (1.12, 0.42),
        (0.94, 0.68),
        (0.6, 0.76),
        (0.22, 0.66),
        (0.0, 0.54),
    )
    _pair(pen, wing, look.hair)
    curve = smooth((0.14, 0.52), (0.5, 0.62), (0.84, 0.58), closed=False)
    for line in (curve, mirror(curve)):
        pen.stroke("hair", line, tint(look.hair, 0.35), 1.1)


def _puffs_back(pen: Pen, look: Look) -> None:
    for side in (-1, 1):
        x = 1.08 * side
        pen.fill("hair", scallop(x, -1.12, 0.7, 0.7, 10, 0.09), look.hair)
        pen.fill("hair", scallop(x + 0.08 * look.light, -1.2, 0.44, 0.42, 8, 0.08), tint(look.hair, 0.2), edge=0)
    pen.fill("hair", oval(0, -0.2, 1.06, 1.02), shade(look.hair))


def _puffs(pen: Pen, look: Look) -> None:
    pen.fill(
        "hair",
        cap((0.98, -0.1), (0.82, -0.5), (0.45, -0.72), (0.0, -0.98), (-0.45, -0.72), (-0.82, -0.5), (-0.98, -0.1)),
        look.hair,
    )
    pen.stroke("hair", path((0.0, -1.25), (0.0, -0.98)), shade(look.hair, 0.55), 0.9)
    _shine(pen, look, 0.72, 0.98)


def _braids_back(pen: Pen, look: Look) -> None:
    pen.fill(
        "hair",
        smooth(
            (0, -1.25),
            (0.85, -0.95),
            (1.14, -0.1),
            (1.06, 0.8),
            (0.5, 1.2),
            (-0.5, 1.2),
            (-1.06, 0.8),
            (-1.14, -0.1),
            (-0.85, -0.95),
        ),
        shade(look.hair, 0.3),
    )


def _braids(pen: Pen, look: Look) -> None:
    dark = shade(look.hair, 0.4)
    for side in (-1, 1):
        for i in range(6):
            x, y = side * (1.04 + 0.07 * min(i, 3)), 0.42 + 0.36 * i
            pen.fill("hair", oval(x, y, 0.27 - 0.017 * i, 0.26, 14), look.hair)
            pen.stroke("hair", path((x - 0.14 * side, y - 0.1), (x + 0.06 * side, y + 0.14)), dark, 0.8)
        pen.fill(
            "hair",
            path(
                (side * 1.25 - 0.11, 2.4),
                (side * 1.25 + 0.11, 2.4),
                (side * 1.25 + 0.2, 2.78),
                (side * 1.25, 2.66),
                (side * 1.25 - 0.2, 2.78),
            ),
            look.hair,
        )
    pen.fill(
        "hair",
        cap(
            (1.04, 0.3),
            (0.9, -0.2),
            (0.62, -0.6),
            (0.0, -0.92),
            (-0.62, -0.6),
            (-0.9, -0.2),
            (-1.04, 0.3),
            start=167,
            stop=373,
        ),
        look.hair,
    )
    pen.stroke("hair", path((0.0, -1.25), (0.0, -0.92)), dark, 0.9)
    _shine(pen, look, 0.86, 1.06)


def _spikes_back(pen: Pen, look: Look) -> None:
    pen.fill("hair", oval(0, -0.15, 1.12, 1.05), shade(look.hair, 0.3))


def _spikes(pen: Pen, look: Look) -> None:
    lean = 0.12 * look.turn
    crown = path(
        (-0.98, 0.15),
        (-1.42, 0.02),
        (-1.12, -0.28),
        (-1.68 - lean, -0.62),
        (-1.16, -0.72),
        (-1.5 - lean, -1.34),
        (-0.86, -1.16),
        (-0.88 - lean, -1.86),
        (-0.36, -1.36),
        (-0.06 - lean, -2.02),
        (0.26, -1.38),
        (0.78 - lean, -1.9),
        (0.8, -1.2),
        (1.46 - lean, -1.42),
        (1.15, -0.76),
        (1.7 - lean, -0.66),
        (1.12, -0.3),
        (1.42, 0.0),
        (0.98, 0.15),
        (0.9, -0.36),
        (0.7, -0.66),
        (0.52, -0.36),
        (0.3, -0.72),
        (0.06, -0.3),
        (-0.16, -0.72),
        (-0.42, -0.36),
        (-0.6, -0.7),
        (-0.9, -0.36),
    )
    pen.fill("hair", crown, look.hair)
    bright = tint(look.hair, 0.35)
    for x, y, tip in ((-0.6, -1.0, (-0.74, -1.5)), (-0.06, -1.1, (-0.08, -1.66)), (0.52, -1.02, (0.64, -1.5))):
        pen.fill("hair", path((x - 0.13, y), (tip[0] - lean, tip[1]), (x + 0.13, y)), bright, edge=0)


def _curls_back(pen: Pen, look: Look) -> None:
    pen.fill("hair", scallop(0, -0.3, 1.56, 1.46, 13, 0.07), look.hair)
    for x, y in ((-1.15, -0.5), (-0.75, -1.25), (0.0, -1.5), (0.75, -1.25), (1.15, -0.5), (-1.2, 0.3), (1.2, 0.3)):
        pen.stroke("hair", arc(x, y, 0.2, 0.2, 150, 420, 10), shade(look.hair, 0.4), 0.9)


def _curls(pen: Pen, look: Look) -> None:
    for x, y, r in (
        (-0.86, -0.62, 0.3),
        (0.86, -0.62, 0.3),
        (-0.48, -0.9, 0.34),
        (0.5, -0.9, 0.34),
        (0.0, -0.96, 0.36),
    ):
        pen.fill("hair", oval(x, y, r, r * 0.92, 16), look.hair)
        pen.stroke("hair", arc(x, y, r * 0.5, r * 0.46, 170, 400, 8), tint(look.hair, 0.35), 1.0)


def _lock(pen: Pen, look: Look) -> None:
    pen.fill(
        "hair",
        smooth(
            (-0.88, -0.3),
            (-0.84, -0.8),
            (-0.3, -1.1),
            (0.4, -1.1),
            (0.86, -0.75),
            (0.9, -0.3),
            (0.66, -0.5),
            (0.2, -0.72),
            (-0.1, -0.78),
            (-0.5, -0.6),
        ),
        look.hair,
    )
    pen.stroke("hair", smooth((0.12, -0.86), (0.48, -0.74), (0.74, -0.55), closed=False), tint(look.hair, 0.3), 1.0)


def _short_back(pen: Pen, look: Look) -> None:
    pen.fill("hair", scallop(0, -0.1, 1.14, 1.12, 11, 0.05), look.hair)


def _short(pen: Pen, look: Look) -> None:
    burn = path((0.74, -0.62), (0.98, -0.75), (1.06, 0.1), (0.96, 0.34), (0.86, 0.1), (0.9, -0.25))
    _pair(pen, burn, look.hair)
    tufts = ((0.86, -0.5), (0.62, -0.34), (0.4, -0.5), (0.16, -0.3), (-0.1, -0.5), (-0.34, -0.32), (-0.58, -0.5))
    pen.fill("hair", np.concatenate((arc(0, 0, 1.05, 1.22, 200, 340, 20), path(*tufts, (-0.86, -0.5)))), look.hair)


def _bob_back(pen: Pen, look: Look) -> None:
    pen.fill(
        "hair",
        smooth(
            (0, -1.36),
            (0.85, -1.08),
            (1.26, -0.3),
            (1.4, 0.7),
            (1.16, 1.08),
            (0, 1.0),
            (-1.16, 1.08),
            (-1.4, 0.7),
            (-1.26, -0.3),
            (-0.85, -1.08),
        ),
        shade(look.hair, 0.3),
    )


def _bob(pen: Pen, look: Look) -> None:
    fringe = cap(
        (0.98, -0.28),
        (0.8, -0.38),
        (0.4, -0.42),
        (0.0, -0.44),
        (-0.4, -0.42),
        (-0.8, -0.38),
        (-0.98, -0.28),
        rx=1.14,
        ry=1.34,
        start=188,
        stop=352,
    )
    lock = smooth((0.86, -0.6), (1.14, -0.5), (1.32, 0.3), (1.3, 0.9), (1.02, 1.04), (0.8, 0.86), (0.9, 0.4))
    _pair(pen, lock, look.hair)
    pen.fill("hair", fringe, look.hair)
    for x in (-0.5, -0.05, 0.42):
        pen.stroke("hair", path((x, -0.7), (x + 0.03, -0.44)), shade(look.hair, 0.45), 0.8)
    _shine(pen, look, 0.86, 0.98, 2.0)


BACK: dict[str, Style] = {
    "swirl": _swirl_back,
    "moustache": _moustache_back,
    "puffs": _puffs_back,
    "braids": _braids_back,
    "spikes": _spikes_back,
    "curls": _curls_back,
    "short": _short_back,
    "bob": _bob_back,
}
FRONT: dict[str, Style] = {
    "swirl": _swirl,
    "mohawk": _mohawk,
    "moustache": _moustache,
    "puffs": _puffs,
    "braids": _braids,
    "spikes": _spikes,
    "curls": _curls,
    "lock": _lock,
    "short": _short,
    "bob": _bob,
}
