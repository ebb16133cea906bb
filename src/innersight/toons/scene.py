"""Everything that varies from image to image, thrown before anything is drawn.

Nothing here depends on the character: setting, light, pose, passers-by and skin say nothing about who it is.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .canvas import Rgb
from .characters import SKINS

T = TypeVar("T")

SETTINGS = ("beach", "hills", "library", "night", "park", "room", "street", "wall")
OCCLUDERS = ("ball", "balloon", "fence", "frame", "plant", "post", "sign")
MOUTHS = ("smile", "grin", "laugh", "oh", "smirk", "calm")
ARMS = ("down", "down", "wave", "hip")
LIGHTS: tuple[tuple[float, float, float], ...] = (
    (1.0, 1.0, 1.0),
    (1.0, 1.0, 1.0),
    (1.05, 0.97, 0.84),
    (1.0, 0.88, 0.85),
    (0.85, 0.95, 1.06),
    (0.80, 0.81, 0.96),
)


class Dice:
    """Uniform numbers handed out one by one from a fixed, endless repetition of `rolls`."""

    def __init__(self, rolls: Sequence[float]) -> None:
        self._rolls = rolls
        self._next = self._endless()

    def _endless(self) -> Iterator[float]:
        while True:
            yield from self._rolls

    def between(self, low: float, high: float) -> float:
        """Return a number from low to high."""
        return low + (high - low) * next(self._next)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(next(self._next) * len(choices))]

    def chance(self, share: float) -> bool:
        """Return True with probability `share`."""
        return next(self._next) < share


@dataclass(frozen=True)
class Scene:
    """One image's circumstances. Lengths are in image sides, angles in degrees."""

    setting: str
    gain: tuple[float, float, float]
    lit_left: bool
    radius: float
    x: float
    y: float
    flip: bool
    turn: float
    nod: float
    tilt: float
    lean: float
    skin: Rgb
    hue: float
    value: float
    mouth: str
    gaze: tuple[float, float]
    open: float
    lids: bool
    brows: float
    arms: tuple[str, str]
    bystanders: int
    occluder: str | None
    behind: tuple[float, ...]
    before: tuple[float, ...]


def sample(name: str, seed: int) -> Scene:
    """Throw the scene that belongs to this character's `seed`."""
    rng = np.random.default_rng((zlib.crc32(name.encode()), seed))
    rolls: list[float] = rng.random(192).tolist()
    dice = Dice(rolls[:64])
    height = dice.between(0.55, 1.0)
    radius = 0.03 + 0.172 * height
    bright = dice.between(0.9, 1.06)
    red, green, blue = dice.pick(LIGHTS)
    return Scene(
        setting=dice.pick(SETTINGS),
        gain=(red * bright, green * bright, blue * bright),
        lit_left=dice.chance(0.5),
        radius=radius,
        x=0.5 + dice.between(-1.0, 1.0) * (0.05 + 0.32 * (1.0 - height)),
        y=1.0 - height + 2.15 * radius - dice.between(0.25, 0.7) * (1.0 - height),
        flip=dice.chance(0.5),
        turn=dice.between(-1.0, 1.0),
        nod=dice.between(-1.0, 1.0),
        tilt=dice.between(-13.0, 13.0),
        lean=dice.between(-5.0, 5.0),
        skin=jitter(dice.pick(SKINS), dice.between(-0.012, 0.012), dice.between(0.94, 1.04)),
        hue=dice.between(-0.014, 0.014),
        value=dice.between(0.93, 1.06),
        mouth=dice.pick(MOUTHS),
        gaze=(dice.between(-1.0, 1.0), dice.between(-0.6, 0.8)),
        open=dice.between(0.2, 0.55),
        lids=dice.chance(0.35),
        brows=dice.between(-1.0, 1.0),
        arms=(dice.pick(ARMS), dice.pick(ARMS)),
        bystanders=dice.pick((0, 0, 1, 1, 2)),
        occluder=dice.pick(OCCLUDERS) if dice.chance(0.45) else None,
        behind=tuple(rolls[64:128]),
        before=tuple(rolls[128:]),
    )


def other_character(name: str, seed: int, names: Sequence[str]) -> str:
    """Throw whose colours this image takes where colours are shuffled; each of `names`, its own too, as often."""
    # A generator of its own: images in their own colours stay as they were.
    return names[int(np.random.default_rng((zlib.crc32(name.encode()), seed, 1)).integers(len(names)))]


def jitter(colour: Rgb, hue: float, value: float) -> Rgb:
    """Colour with its hue moved by `hue` turns and its brightness multiplied by `value`."""
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    r, g, b = colorsys.hsv_to_rgb((h + hue) % 1.0, s, min(1.0, v * value))
    return round(r * 255), round(g * 255), round(b * 255)
