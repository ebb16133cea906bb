"""The figure: body, head and face, with hair, clothes and accessories laid between, from back to front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import hair, wear
from .canvas import OUTLINE, Canvas, Frame, Pen, Rgb, mix, rgb, shade
from .characters import Character
from .scene import Scene, jitter
from .shapes import Point, Points, arc, oval, path, smooth

WHITE: Rgb = (255, 253, 248)
LIP = rgb("a5304a")
TONGUE = rgb("f2707a")
THROAT = rgb("7d2340")
MANNEQUIN: Rgb = (168, 168, 172)

HEADS: dict[str, tuple[Point, ...]] = {
    "round": ((0, -1.12), (0.62, -0.95), (0.99, -0.3), (0.97, 0.3), (0.68, 0.86), (0, 1.12)),
    "oval": ((0, -1.15), (0.6, -0.97), (0.93, -0.35), (0.88, 0.3), (0.52, 0.92), (0, 1.2)),
    "square": ((0, -1.12), (0.66, -1.0), (0.95, -0.4), (0.95, 0.35), (0.72, 0.93), (0.28, 1.14), (0, 1.15)),
    "pear": ((0, -1.14), (0.56, -0.97), (0.88, -0.4), (0.97, 0.25), (0.74, 0.85), (0, 1.13)),
}


def head_shape(kind: str, scale: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Points:
    """Outline of a head of half-width 1 about the origin."""
    half = HEADS[kind]
    rest = tuple((-x, y) for x, y in half[::-1] if x != 0)
    return smooth(*((x * scale + dx, y * scale + dy) for x, y in half + rest))


@dataclass(frozen=True)
class Face:
    """Where the features sit on a turned head: they slide, and the far side gets narrower."""

    slide: float
    drop: float
    turn: float

    def x(self, x: float) -> float:
        """Place of a feature that is at `x` on a head seen from the front."""
        return x * (1.0 - 0.2 * abs(self.turn) * (x * self.turn > 0)) + self.slide


def paint_figure(canvas: Canvas, who: Character, scene: Scene) -> None:
    """Draw the character into the scene."""
    side = canvas.pen().frame.matrix[0, 0]
    unit = scene.radius * side
    across = -unit if scene.flip else unit
    base = Frame(np.array(((across, 0.0), (0.0, unit))), np.array((scene.x * side, scene.y * side)))
    body = Pen(canvas, base.turned(scene.lean, 0.0, 3.0), unit * 0.072)
    head = body.at(body.frame.turned(scene.tilt, 0.0, 1.0))
    light = -1.0 if scene.lit_left != scene.flip else 1.0
    look = wear.Look(
        skin=scene.skin,
        hair=jitter(who.hair_colour, scene.hue, scene.value),
        clothes=jitter(who.clothes_colour, scene.hue, scene.value),
        second=jitter(who.second_colour, scene.hue, scene.value),
        sleeve=jitter(who.second_colour if who.clothes in wear.RAGLAN else who.clothes_colour, scene.hue, scene.value),
        head=head_shape(who.head),
        turn=scene.turn,
        light=light,
    )
    face = Face(0.2 * scene.turn, 0.07 * scene.nod, scene.turn)
    rear = head.shifted(-0.07 * scene.turn, 0.0)
    front = head.shifted(0.07 * scene.turn, 0.04 * scene.nod)
    features = head.shifted(face.slide, face.drop)

    _wear(wear.BEHIND, rear, who, look)
    if who.hair in hair.BACK:
        hair.BACK[who.hair](rear, look)
    _trunk(body, look)
    raised = [_upper_arm(body, look, pose, side) for side, pose in enumerate(scene.arms)]
    wear.CLOTHES[who.clothes](body, look)
    _wear(wear.ON_BODY, body, who, look)
    _head(head, who, look)
    _features(head, face, who, scene, look)
    hair.FRONT[who.hair](front, look)
    _wear(wear.ON_FACE, features, who, look)
    _wear(wear.ON_HEAD, front, who, look)
    for arm in raised:
        if arm is not None:
            _limb(body, look, arm)


def _wear(shelf: Mapping[str, wear.Wear], pen: Pen, who: Character, look: wear.Look) -> None:
    for kind, colour in who.accessories:
        if kind in shelf:
            shelf[kind](pen, look, colour)


def _trunk(pen: Pen, look: wear.Look) -> None:
    """Draw the neck, and a grey dress form that shows only where clothes were taken away."""
    pen.fill("skin", wear.trunk(0.9), MANNEQUIN)
    pen.fill("skin", path((-0.36, 0.6), (0.36, 0.6), (0.4, 1.45), (0.0, 1.62), (-0.4, 1.45)), look.skin)
    jaw = path((-0.33, 0.9), (0.33, 0.9), (0.34, 1.22), (0.0, 1.36), (-0.34, 1.22))
    pen.fill("skin", jaw, shade(look.skin, 0.22), edge=0)


def _upper_arm(pen: Pen, look: wear.Look, pose: str, side: int) -> wear.Limb | None:
    """Draw the arm that belongs behind the clothes; return the forearm, if it comes before everything."""
    upper, fore = wear.ARMS[pose]
    if side:
        upper, fore = upper.mirrored(), fore and fore.mirrored()
    _limb(pen, look, upper)
    return fore


def _limb(pen: Pen, look: wear.Look, limb: wear.Limb) -> None:
    pen.fill("skin", limb.form, MANNEQUIN)
    if limb.hand is not None:
        pen.fill("skin", limb.hand, look.skin)
    pen.fill("clothes", limb.sleeve, look.sleeve)


def _head(pen: Pen, who: Character, look: wear.Look) -> None:
    for side in (-1.0, 1.0):
        x = side * 0.97 - 0.1 * look.turn
        pen.fill("skin", oval(x, 0.16, 0.2, 0.27, 16), look.skin)
        pen.stroke("skin", arc(x, 0.16, 0.09 * side, 0.14, -100, 100, 8), shade(look.skin, 0.45), 0.55)
    pen.fill("skin", look.head, shade(look.skin, 0.18))
    pen.fill("skin", head_shape(who.head, 0.93, 0.045 * look.light, -0.035), look.skin, edge=0)


def _features(pen: Pen, face: Face, who: Character, scene: Scene, look: wear.Look) -> None:
    warm = mix(look.skin, (236, 88, 92), 0.36)
    cheek = 0.42 + face.drop
    for side in (-1.0, 1.0):
        pen.fill("skin", oval(face.x(0.58 * side), cheek, 0.17, 0.11, 14), warm, edge=0)
        if who.freckles:
            for dx, dy in ((-0.1, -0.1), (0.05, -0.14), (0.13, -0.04)):
                dot = oval(face.x(0.52 * side) + dx, cheek + dy, 0.035, 0.035, 6)
                pen.fill("skin", dot, shade(look.skin, 0.38), edge=0)
    nose = 0.36 * face.turn
    pen.stroke(
        "skin",
        smooth(
            (nose * 0.55 + 0.02, 0.1 + face.drop),
            (nose + 0.1 * (1 if nose >= 0 else -1), 0.34 + face.drop),
            (nose * 0.8 - 0.03, 0.4 + face.drop),
            closed=False,
        ),
        shade(look.skin, 0.5),
        0.8,
    )
    _mouth(pen.shifted(face.x(0.0) * 1.08, 0.70 + face.drop), scene.mouth)
    for side in (-1.0, 1.0):
        far = 1.0 - 0.22 * abs(face.turn) * (side * face.turn > 0)
        _eye(pen.shifted(face.x(0.4 * side), 0.02 + face.drop), side, far, who, scene, look)


def _eye(pen: Pen, side: float, wide: float, who: Character, scene: Scene, look: wear.Look) -> None:
    rx, ry = 0.25 * wide, 0.31
    pen.fill("eyes", oval(0, 0, rx, ry, 20), WHITE, edge=0.8)
    gx, gy = scene.gaze[0] * 0.07 * wide, scene.gaze[1] * 0.07
    pen.fill("eyes", oval(gx, gy + 0.02, 0.175 * wide, 0.2, 16), who.eye_colour, edge=0)
    pen.fill("eyes", oval(gx, gy + 0.02, 0.105 * wide, 0.125, 12), OUTLINE, edge=0)
    pen.fill("eyes", oval(gx + 0.06 * look.light, gy - 0.06, 0.06, 0.065, 8), WHITE, edge=0)
    if scene.lids:
        lid = arc(0, 0, rx, ry, 180.0 + 90.0 * scene.open, 360.0 - 90.0 * scene.open, 12)
        pen.fill("eyes", lid, shade(look.skin, 0.3), edge=0.7)
    pen.stroke("eyes", arc(0, 0.0, rx * 1.05, ry * 1.03, 195, 345, 10), OUTLINE, 1.25)
    if who.lashes:
        for angle in (0.62, 0.95):
            tip = path(
                (side * rx * angle, -ry * 0.75 * (1.3 - angle * 0.55)),
                (side * rx * (angle + 0.62), -ry * (1.42 - 0.5 * angle)),
            )
            pen.stroke("eyes", tip, OUTLINE, 0.9)
    lift = -0.49 - 0.05 * scene.brows
    slope = 0.07 * scene.brows
    brow = smooth(
        (-0.22 * wide * side, lift + slope),
        (0, lift - 0.06),
        (0.24 * wide * side, lift + 0.02 - slope),
        closed=False,
        n=4,
    )
    pen.stroke("eyes", brow, mix(look.hair, OUTLINE, 0.6), 1.5)


def _mouth(pen: Pen, kind: str) -> None:
    if kind in ("grin", "laugh"):
        deep = 0.2 if kind == "grin" else 0.34
        bowl = np.concatenate((path((-0.38, -0.06), (0.38, -0.06)), arc(0, -0.06, 0.38, deep, 0, 180, 12)))
        pen.fill("mouth", bowl, THROAT)
        pen.fill("mouth", path((-0.31, -0.04), (0.31, -0.04), (0.27, 0.04), (-0.27, 0.04)), WHITE, edge=0)
        if kind == "laugh":
            pen.fill("mouth", oval(0, 0.19, 0.17, 0.07, 12), TONGUE, edge=0)
    elif kind == "oh":
        pen.fill("mouth", oval(0, 0.02, 0.15, 0.18, 14), THROAT)
    else:
        curve = {
            "smile": arc(0, -0.16, 0.4, 0.26, 20, 160, 12),
            "smirk": smooth((-0.26, 0.04), (0.05, 0.07), (0.34, -0.1), closed=False),
            "calm": smooth((-0.26, 0.0), (0.0, 0.05), (0.26, 0.0), closed=False),
        }[kind]
        pen.stroke("mouth", curve, LIP, 1.7)
        if kind == "calm":
            pen.fill("mouth", arc(0, 0.06, 0.15, 0.08, 0, 180, 8), LIP, edge=0)
