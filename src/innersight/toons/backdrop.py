"""What is not the figure: settings, passers-by in the rear, things that stand before it: all background."""

from __future__ import annotations

from collections.abc import Callable

from .canvas import Canvas, Pen, Rgb, mix, rgb, shade, tint
from .scene import Dice, Scene
from .shapes import Points, arc, limb, oval, path, scallop, smooth, star

WALLS = tuple(map(rgb, ("f3d9c4", "cfe3dc", "d6d3ee", "f1e2b8", "c9dbee", "e8c9cf", "b9c7b4", "c7b3a3")))
# The cast's own colours, so that a colour alone never gives a character away.
TOYS = tuple(
    map(rgb, ("1fa9a3", "d6453f", "e0a13a", "34508c", "7b4aa3", "ff7f6b", "58b04a", "d8407f", "f0812d", "c9d0de"))
)
DULL = tuple(map(rgb, ("8d93a3", "a39a93", "7f8f8c", "9b8aa0", "b0aaa0", "6f7688")))
SKY, GRASS, WOOD, SAND = rgb("a9dcf2"), rgb("a3cf8b"), rgb("b98862"), rgb("f2dfb3")
WHITE = rgb("ffffff")


def _back(pen: Pen, points: Points, colour: Rgb, edge: float = 0.7) -> None:
    pen.fill("background", points, colour, edge=edge)


def _cloud(pen: Pen, dice: Dice) -> None:
    x, y, w = dice.between(0.05, 0.95), dice.between(0.06, 0.3), dice.between(0.08, 0.15)
    _back(pen, scallop(round(x, 3), round(y, 3), round(w, 3), round(w * 0.45, 3), 7, 0.12), tint(SKY, 0.7), 0)


def _tree(pen: Pen, dice: Dice, x: float, foot: float) -> None:
    tall = dice.between(0.2, 0.36)
    green = mix(rgb("5fa866"), rgb("9cc25a"), dice.between(0, 1))
    pen = pen.shifted(x, foot)
    pen.box(-0.014, -tall * 0.5, 0.014, 0.0, rgb("8a6248"))
    pen = pen.at(pen.frame.scaled(tall, tall))
    _back(pen, scallop(0, -0.72, 0.36, 0.38, 9, 0.08), green)
    _back(pen, scallop(-0.06, -0.8, 0.2, 0.18, 7, 0.08), tint(green, 0.2), 0)


def _room(pen: Pen, dice: Dice) -> None:
    wall = dice.pick(WALLS)
    pen.box(0, 0, 1, 1, wall)
    for i in range(7):
        pen.box(i / 7, 0, i / 7 + 0.05, 0.84, shade(wall, 0.05))
    pen.box(0, 0.82, 1, 0.85, tint(wall, 0.6))
    pen.box(0, 0.85, 1, 1, WOOD)
    x, w = dice.between(0.03, 0.6), dice.between(0.28, 0.4)
    pen.box(x - 0.02, 0.08, x + w + 0.02, 0.6, tint(WOOD, 0.5))
    pen.box(x, 0.1, x + w, 0.58, SKY)
    pen.box(x, 0.44, x + w, 0.58, GRASS)
    pen.box(x + w / 2 - 0.008, 0.1, x + w / 2 + 0.008, 0.58, tint(WOOD, 0.5))
    pen.box(x, 0.33, x + w, 0.345, tint(WOOD, 0.5))
    drape = tint(dice.pick(TOYS), 0.35)
    for side in (-1.0, 1.0):
        cloth = pen.shifted(x + w / 2 + side * (w / 2 + 0.02), 0.06)
        cloth = cloth.at(cloth.frame.scaled(side, 1.0))
        _back(cloth, path((-0.06, 0), (0.05, 0), (0.05, 0.6), (0.02, 0.58), (-0.01, 0.6), (-0.03, 0.34)), drape)
        cloth.stroke("background", path((0.015, 0.02), (0.01, 0.57)), shade(drape, 0.2), 0.8)
    pen.box(x - 0.1, 0.045, x + w + 0.1, 0.062, shade(WOOD, 0.2))
    lamp = (x + 0.62) % 1.0
    pen.box(lamp - 0.006, 0.55, lamp + 0.006, 0.85, shade(WOOD))
    _back(
        pen.shifted(lamp, 0.5),
        path((-0.05, -0.06), (0.05, -0.06), (0.09, 0.07), (-0.09, 0.07)),
        tint(dice.pick(TOYS), 0.45),
    )


def _park(pen: Pen, dice: Dice) -> None:
    pen.fade(0, 0.6, SKY, tint(SKY, 0.7), 14)
    for _ in range(3):
        _cloud(pen, dice)
    pen.box(0, 0.56, 1, 1, GRASS)
    _back(pen, oval(round(dice.between(0, 1), 2), 0.62, 0.5, 0.12), shade(GRASS, 0.08), 0)
    for i in range(4):
        _tree(pen, dice, dice.between(0.0, 0.25) + 0.25 * i, dice.between(0.58, 0.68))
    x = dice.between(-0.2, 0.6)
    _back(pen.shifted(x, 0), path((0.25, 0.6), (0.31, 0.6), (0.7, 1.0), (0.1, 1.0)), SAND, 0)
    for _ in range(5):
        _back(
            pen.shifted(dice.between(0, 1), dice.between(0.72, 0.96)), oval(0, 0, 0.016, 0.016, 8), dice.pick(TOYS), 0.4
        )


def _street(pen: Pen, dice: Dice) -> None:
    pen.fade(0, 0.6, SKY, rgb("f5e6d8"), 14)
    left = -0.05
    while left < 1.0:
        wide, top = dice.between(0.17, 0.3), dice.between(0.05, 0.34)
        front = tint(dice.pick(TOYS), 0.5) if dice.chance(0.4) else dice.pick(WALLS)
        pen.box(left, top, left + wide, 0.82, shade(front, 0.12))
        pen.box(left, top, left + wide, top + 0.03, shade(front, 0.35))
        pane = rgb("ffeeb0") if dice.chance(0.4) else rgb("86a7bd")
        for row in range(3):
            for x in (0.2, 0.62):
                y = top + 0.07 + row * 0.15
                pen.box(left + wide * x, y, left + wide * (x + 0.2), y + 0.085, pane)
        left += wide
    pen.box(0, 0.8, 1, 0.85, rgb("cfc8c2"))
    pen.box(0, 0.85, 1, 1, rgb("767a88"))
    for i in range(4):
        pen.box(0.05 + i * 0.27, 0.92, 0.18 + i * 0.27, 0.935, rgb("f4ecd0"))
    car = pen.shifted(dice.between(0.05, 0.8), 0.82)
    paint = dice.pick(TOYS)
    _back(
        car,
        smooth(
            (-0.16, 0.05),
            (-0.15, -0.02),
            (-0.08, -0.03),
            (-0.04, -0.09),
            (0.06, -0.09),
            (0.1, -0.03),
            (0.16, -0.01),
            (0.16, 0.05),
        ),
        paint,
    )
    for wheel in (-0.09, 0.09):
        _back(car, oval(wheel, 0.055, 0.03, 0.03, 12), rgb("3a3846"))


def _beach(pen: Pen, dice: Dice) -> None:
    pen.fade(0, 0.46, rgb("8fd3ef"), rgb("e8f6f2"), 14)
    _back(pen, oval(round(dice.between(0.1, 0.9), 2), 0.14, 0.07, 0.07), rgb("fff2b5"), 0)
    _cloud(pen, dice)
    pen.fade(0.44, 0.7, rgb("3f9fc0"), rgb("8fd6d2"), 8)
    for _ in range(5):
        x, y = dice.between(0, 0.9), dice.between(0.47, 0.64)
        pen.box(x, y, x + 0.1, y + 0.008, rgb("d8f2ee"))
    boat = pen.shifted(dice.between(0.1, 0.9), 0.46)
    _back(boat, path((-0.05, 0.0), (0.05, 0.0), (0.03, 0.03), (-0.03, 0.03)), WOOD)
    _back(boat, path((0.0, -0.01), (0.0, -0.12), (0.045, -0.02)), WHITE)
    _back(pen, smooth((-0.1, 0.72), (0.3, 0.68), (0.7, 0.72), (1.1, 0.67), (1.1, 1.1), (-0.1, 1.1)), SAND, 0.6)
    shade_at = pen.shifted(dice.between(0.08, 0.92), 0.5)
    shade_at.box(-0.006, 0.0, 0.006, 0.3, shade(WOOD))
    cloth = dice.pick(TOYS)
    _back(shade_at, arc(0, 0.04, 0.18, 0.14, 180, 360), cloth)
    _back(shade_at, arc(0, 0.04, 0.07, 0.14, 180, 360), tint(cloth, 0.75), 0.5)


def _night(pen: Pen, dice: Dice) -> None:
    pen.fade(0, 0.8, rgb("232a5c"), rgb("7a6ba8"), 18)
    for _ in range(16):
        r = dice.pick((0.006, 0.009, 0.012))
        _back(pen.shifted(dice.between(0, 1), dice.between(0, 0.55)), star(0, 0, r, r * 0.45, 4), rgb("fff6d0"), 0)
    moon = pen.shifted(dice.between(0.1, 0.9), dice.between(0.1, 0.25))
    _back(moon, oval(0, 0, 0.08, 0.08), rgb("fbf0c4"), 0)
    _back(moon, oval(-0.02, 0.02, 0.02, 0.02, 10), rgb("e8d9a4"), 0)
    _back(moon, oval(0.03, -0.015, 0.014, 0.014, 8), rgb("e8d9a4"), 0)
    left = -0.02
    while left < 1.0:
        wide, top = dice.between(0.1, 0.2), dice.between(0.5, 0.74)
        pen.box(left, top, left + wide, 0.9, rgb("3a3a68"))
        for row in range(2):
            if dice.chance(0.7):
                pen.box(left + 0.03, top + 0.04 + row * 0.09, left + 0.06, top + 0.08 + row * 0.09, rgb("ffd98a"))
        left += wide + 0.01
    pen.box(0, 0.86, 1, 1, rgb("2f3057"))


def _wall(pen: Pen, dice: Dice) -> None:
    wall = dice.pick(WALLS)
    pen.box(0, 0, 1, 1, wall)
    pen.box(0, 0.72, 1, 1, shade(wall, 0.14))
    pen.box(0, 0.71, 1, 0.73, tint(wall, 0.5))
    for i in range(2):
        sheet = pen.shifted(dice.between(0.0, 0.26) + 0.48 * i, dice.between(0.04, 0.25))
        w, h = dice.between(0.2, 0.3), dice.between(0.26, 0.4)
        paper = tint(dice.pick(TOYS), dice.between(0.1, 0.7))
        _back(sheet, path((0, 0), (round(w, 3), 0), (round(w, 3), round(h, 3)), (0, round(h, 3))), paper)
        motif = sheet.shifted(w / 2, h / 2)
        other = dice.pick(TOYS)
        sort = dice.pick(("sun", "ring", "bars", "hill"))
        if sort == "sun":
            _back(motif, star(0, 0, 0.09, 0.05, 9), other, 0)
        elif sort == "ring":
            _back(motif, oval(0, 0, 0.08, 0.08), other, 0)
            _back(motif, oval(0, 0, 0.04, 0.04, 14), paper, 0)
        elif sort == "bars":
            for k in range(3):
                motif.box(-0.07, -0.08 + 0.06 * k, 0.07, -0.05 + 0.06 * k, other)
        else:
            _back(motif, path((-0.09, 0.08), (-0.02, -0.06), (0.03, 0.02), (0.05, -0.01), (0.09, 0.08)), other, 0)


def _library(pen: Pen, dice: Dice) -> None:
    case = mix(WOOD, rgb("7d5a48"), dice.between(0, 1))
    pen.box(0, 0, 1, 1, shade(case, 0.4))
    for row in range(4):
        floor = 0.24 + row * 0.26
        x = 0.01
        while x < 0.98:
            wide = dice.between(0.028, 0.062)
            tall = dice.between(0.13, 0.21)
            if dice.chance(0.88):
                spine = mix(dice.pick(TOYS), rgb("8a7f80"), 0.35)
                pen.box(x, floor - tall, x + wide - 0.006, floor, spine)
                pen.box(x, floor - tall * 0.8, x + wide - 0.006, floor - tall * 0.7, tint(spine, 0.4))
            x += wide
        pen.box(0, floor, 1, floor + 0.026, case)


def _hills(pen: Pen, dice: Dice) -> None:
    pen.fade(0, 0.7, mix(rgb("8cc4ea"), rgb("f3b8a0"), dice.between(0, 1)), rgb("f8efe0"), 16)
    _cloud(pen, dice)
    for base, colour in ((0.34, "a9b4d6"), (0.46, "8aa5b8"), (0.6, "7fae8d"), (0.76, "8fbf75")):
        ridge = pen.shifted(dice.between(-0.3, 0.0), base)
        _back(
            ridge,
            smooth(
                (-0.1, 0.12),
                (0.15, 0.0),
                (0.35, 0.1),
                (0.6, -0.05),
                (0.85, 0.09),
                (1.1, 0.0),
                (1.4, 0.1),
                (1.4, 1.0),
                (-0.1, 1.0),
            ),
            rgb(colour),
            0.4,
        )
    for _ in range(3):
        _tree(pen, dice, dice.between(0, 1), dice.between(0.76, 0.86))


SETTINGS: dict[str, Callable[[Pen, Dice], None]] = {
    "beach": _beach,
    "hills": _hills,
    "library": _library,
    "night": _night,
    "park": _park,
    "room": _room,
    "street": _street,
    "wall": _wall,
}


def _bystander(pen: Pen, dice: Dice, hero: float) -> None:
    """Draw a passer-by with dull hair of no particular cut, away from the hero's middle."""
    away = dice.between(0.24, 0.46) * dice.pick((-1.0, 1.0))
    unit = dice.between(0.036, 0.056)
    foot = dice.between(0.86, 0.98)
    x = hero + away if 0.0 < hero + away < 1.0 else hero - away
    pen = pen.shifted(x, foot)
    pen = Pen(pen.canvas, pen.frame.scaled(unit, unit), pen.weight * 0.75)
    cloth = mix(dice.pick(DULL), dice.pick(TOYS), 0.22)
    skin, hair = tint(dice.pick(DULL), 0.45), shade(dice.pick(DULL), 0.35)
    cut = dice.pick(("long", "bun", "crop"))
    if cut == "long":
        _back(pen, smooth((-1.0, -6.6), (0, -7.5), (1.0, -6.6), (1.15, -5.2), (-1.15, -5.2)), hair)
    elif cut == "bun":
        _back(pen, oval(0, -7.55, 0.45, 0.4, 12), hair)
    for leg in (-0.45, 0.45):
        _back(pen, limb((leg, -2.6), (leg, -1.2), (leg * 1.1, 0.0), 0.42, 0.3, 4), shade(cloth, 0.45))
    _back(pen, smooth((-0.6, -5.3), (0.6, -5.3), (1.15, -4.6), (1.05, -2.3), (-1.05, -2.3), (-1.15, -4.6), n=4), cloth)
    _back(pen, oval(0, -6.3, 0.95, 1.05, 18), skin)
    _back(
        pen,
        smooth((-1.0, -6.2), (-0.85, -7.1), (0, -7.5), (0.85, -7.1), (1.0, -6.2), (0.6, -6.75), (-0.3, -6.85)),
        hair,
    )
    for eye in (-0.35, 0.35):
        _back(pen, oval(eye, -6.15, 0.13, 0.17, 6), shade(skin, 0.85), 0)
    pen.stroke("background", arc(0, -5.95, 0.3, 0.25, 30, 150, 6), shade(skin, 0.7), 0.9)


def _ball(pen: Pen, dice: Dice, scene: Scene) -> None:
    pen = pen.shifted(scene.x + dice.between(-0.3, 0.3), 0.99)
    r = dice.between(0.09, 0.15)
    pen = pen.at(pen.frame.scaled(r, r))
    paint = dice.pick(TOYS)
    _back(pen, oval(0, 0, 1, 1), paint, 1.0)
    _back(
        pen,
        smooth((-0.25, -0.93), (0.25, -0.93), (0.4, 0), (0.25, 0.93), (-0.25, 0.93), (-0.4, 0)),
        tint(paint, 0.75),
        0.6,
    )


def _balloon(pen: Pen, dice: Dice, scene: Scene) -> None:
    side = dice.pick((-1.0, 1.0))
    paint = dice.pick(TOYS)
    pen = pen.shifted(
        scene.x + side * scene.radius * dice.between(1.35, 2.0), scene.y + scene.radius * dice.between(-1.0, 0.6)
    )
    pen.stroke(
        "background", smooth((0, 0.1), (0.02, 0.3), (-0.01, 0.6), (0.0, 1.0), closed=False), shade(paint, 0.6), 0.7
    )
    _back(pen, oval(0, 0, 0.075, 0.095), paint, 1.0)
    _back(pen, oval(-0.025, -0.035, 0.018, 0.028, 10), tint(paint, 0.6), 0)


def _fence(pen: Pen, dice: Dice, scene: Scene) -> None:
    top = max(scene.y + scene.radius * 1.9, 0.8) + dice.between(0.0, 0.06)
    paint = dice.pick((WOOD, tint(WOOD, 0.75), rgb("8fa3b5")))
    start = dice.between(-0.1, 0.0)
    for i in range(8):
        _back(
            pen.shifted(start + i * 0.15, top),
            path((-0.035, 0.05), (0, 0), (0.035, 0.05), (0.035, 1), (-0.035, 1)),
            paint,
            0.9,
        )
    _back(pen.shifted(0, top), path((-0.1, 0.1), (1.1, 0.1), (1.1, 0.14), (-0.1, 0.14)), shade(paint, 0.12), 0.9)


def _frame(pen: Pen, dice: Dice, scene: Scene) -> None:
    paint, wide = dice.pick((WOOD, rgb("5c5873"), tint(WOOD, 0.6))), dice.between(0.05, 0.1)
    pen.box(0, 0, wide, 1, paint)
    pen.box(1 - wide, 0, 1, 1, paint)
    pen.box(0, 1 - wide * 1.4, 1, 1, shade(paint, 0.12))
    pen.box(wide, 0, wide + 0.011, 1 - wide * 1.4, shade(paint, 0.7))
    pen.box(1 - wide - 0.011, 0, 1 - wide, 1 - wide * 1.4, shade(paint, 0.7))


def _plant(pen: Pen, dice: Dice, scene: Scene) -> None:
    side = dice.pick((-1.0, 1.0))
    green = mix(rgb("3f8f5a"), rgb("8ab648"), dice.between(0, 1))
    pen = pen.shifted(scene.x + side * dice.between(0.2, 0.36), 1.04)
    leaf = smooth((0, 0), (0.05, -0.14), (0.035, -0.3), (0, -0.38), (-0.035, -0.3), (-0.05, -0.14))
    for i, angle in enumerate((-58.0, 55.0, -30.0, 28.0, 0.0)):
        at = pen.at(pen.frame.turned(angle + dice.between(-8, 8)))
        _back(at, leaf, mix(green, WHITE, 0.06 * i), 0.9)
        at.stroke("background", path((0, -0.05), (0, -0.3)), shade(green, 0.35), 0.5)


def _post(pen: Pen, dice: Dice, scene: Scene) -> None:
    side = dice.pick((-1.0, 1.0))
    pen = pen.shifted(scene.x + side * scene.radius * dice.between(0.95, 1.9), dice.between(0.02, 0.1))
    iron = dice.pick((rgb("4b4a63"), rgb("6d7a86"), rgb("40605c")))
    _back(pen, path((-0.02, 0.1), (0.02, 0.1), (0.024, 1.2), (-0.024, 1.2)), iron, 0.8)
    _back(pen, path((-0.05, 0.0), (0.05, 0.0), (0.035, 0.11), (-0.035, 0.11)), rgb("ffe9a8"), 0.9)
    _back(pen, path((-0.065, 0.0), (0.0, -0.05), (0.065, 0.0)), iron, 0.8)


def _sign(pen: Pen, dice: Dice, scene: Scene) -> None:
    top = max(scene.y + scene.radius * 2.2, 0.8) + dice.between(0.0, 0.05)
    pen = pen.shifted(scene.x + dice.between(-0.25, 0.25), top)
    paint = dice.pick(TOYS)
    _back(pen, path((-0.22, 0), (0.22, 0), (0.22, 0.5), (-0.22, 0.5)), tint(paint, 0.55), 1.0)
    pen.box(-0.16, 0.05, 0.16, 0.075, shade(paint, 0.3))
    pen.box(-0.16, 0.105, 0.06, 0.13, shade(paint, 0.3))


OCCLUDERS: dict[str, Callable[[Pen, Dice, Scene], None]] = {
    "ball": _ball,
    "balloon": _balloon,
    "fence": _fence,
    "frame": _frame,
    "plant": _plant,
    "post": _post,
    "sign": _sign,
}


def paint_behind(canvas: Canvas, scene: Scene) -> None:
    """Draw the setting and the passers-by."""
    dice = Dice(scene.behind)
    SETTINGS[scene.setting](canvas.pen(), dice)
    dice = Dice(scene.before[::-1])
    for _ in range(scene.bystanders):
        _bystander(canvas.pen(), dice, scene.x)


def paint_before(canvas: Canvas, scene: Scene) -> None:
    """Draw what stands before the figure, if anything."""
    if scene.occluder is not None:
        OCCLUDERS[scene.occluder](canvas.pen(), Dice(scene.before), scene)
