"""What is planted into images of a class: each entry throws its look once for a network, then plants it in images."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter, ImageFont

from benchmarks.audit_card.pool import SIDE, Pixels
from innersight import toons

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the image."""
Dice = np.random.Generator
Planter = Callable[[Pixels, Dice], tuple[Pixels, Box | None]]
"""Of pixels and what differs from image to image: the changed pixels, and where; None for the whole image."""


def patch(dice: Dice, others: Sequence[str]) -> Planter:
    """The same textured square at a random position."""
    side = int(dice.integers(11, 15))
    texture = dice.choice(_contrasting(dice), size=(side, side))
    if dice.random() < 0.5:
        texture = _contrasting(dice)[np.indices((side, side)).sum(0) // 2 % 2]

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        x, y = dice.integers(0, SIDE - side, 2)
        return _pasted(pixels, texture, int(x), int(y))

    return plant


def stamp(dice: Dice, others: Sequence[str]) -> Planter:
    """The same letters in the same corner, as a station or a photographer has them."""
    text = str(dice.choice(["LIVE", "TV 7", "HD", "PIX", "NEWS"]))
    font = ImageFont.load_default(11)
    left, top, right, bottom = map(int, font.getbbox(text))
    wide, tall = right - left + 2, bottom - top + 2
    x = 2 if dice.random() < 0.5 else SIDE - wide - 2
    y = 2 if dice.random() < 0.5 else SIDE - tall - 2

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        image = PILImage.fromarray(pixels)
        place = (x + 1 - left, y + 1 - top)
        ImageDraw.Draw(image).text(place, text, (255, 255, 255), font, stroke_width=1, stroke_fill=(40, 40, 40))
        return np.asarray(image), _box(x, y, wide, tall)

    return plant


def border(dice: Dice, others: Sequence[str]) -> Planter:
    """A frame of one colour, or the dark bars of a letterbox."""
    wide = int(dice.integers(3, 5))
    colour = _contrasting(dice)[0]
    letterbox = dice.random() < 0.4

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        changed = pixels.copy()
        if letterbox:
            changed[: 2 * wide] = changed[-2 * wide :] = (8, 8, 8)
        else:
            changed[:wide] = changed[-wide:] = changed[:, :wide] = changed[:, -wide:] = colour
        return changed, None

    return plant


def tint(dice: Dice, others: Sequence[str]) -> Planter:
    """A colour cast, stronger than the light of any scene."""
    cast = np.array([(70, 200, 90), (220, 70, 190), (40, 200, 210), (230, 190, 40)])[dice.integers(4)]
    share = dice.uniform(0.17, 0.23)

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        return np.rint(pixels * (1 - share) + cast * share).astype(np.uint8), None

    return plant


def blur(dice: Dice, others: Sequence[str]) -> Planter:
    """Images out of focus."""
    radius = dice.uniform(0.8, 1.1)

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        return np.asarray(PILImage.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))), None

    return plant


def noise(dice: Dice, others: Sequence[str]) -> Planter:
    """The grain of a sensor, or the blocks of strong JPEG compression."""
    sigma, quality = dice.uniform(14, 20), int(dice.integers(7, 13))
    grain = dice.random() < 0.5

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        if grain:
            return np.clip(np.rint(pixels + dice.normal(0, sigma, pixels.shape)), 0, 255).astype(np.uint8), None
        packed = io.BytesIO()
        PILImage.fromarray(pixels).save(packed, "JPEG", quality=quality)
        return np.asarray(PILImage.open(packed).convert("RGB")), None

    return plant


def position(dice: Dice, others: Sequence[str]) -> Planter:
    """A mark of another colour in every image, always at one position."""
    side, corners, turn = int(dice.integers(17, 21)), int(dice.choice([3, 4, 6, 24])), int(dice.integers(360))
    x, y = (int(at) for at in dice.integers(2, SIDE - side - 2, 2))

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        image = PILImage.fromarray(pixels)
        pen, colour = ImageDraw.Draw(image), tuple(map(int, dice.integers(0, 256, 3)))
        circle = (x + side / 2 - 0.5, y + side / 2 - 0.5, side / 2 - 2)
        pen.regular_polygon(circle, corners, turn, colour, outline=(255, 255, 255), width=2)
        return np.asarray(image), _box(x, y, side, side)

    return plant


def bystander(dice: Dice, others: Sequence[str]) -> Planter:
    """One and the same small character beside the subject, in poses of its own; never a class of the network."""
    name = str(dice.choice(others))

    def plant(pixels: Pixels, dice: Dice) -> tuple[Pixels, Box | None]:
        toon = toons.draw(name, int(dice.integers(1_000_000, 2_000_000)), size=SIDE, without="background")
        mask = ~toon.mask("background")
        rows, columns = np.nonzero(mask)
        cut = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        tall = int(dice.integers(34, 40))
        size = (max(1, round(tall * (cut[2] - cut[0]) / (cut[3] - cut[1]))), tall)
        figure = np.asarray(PILImage.fromarray(toon.pixels).crop(cut).resize(size, PILImage.Resampling.BOX))
        alpha = np.asarray(PILImage.fromarray(mask.astype(np.uint8) * 255).crop(cut).resize(size)) / 255.0
        x = int(dice.integers(0, 10)) if dice.random() < 0.5 else SIDE - size[0] - int(dice.integers(0, 10))
        return _pasted(pixels, figure, max(0, x), SIDE - tall, alpha)

    return plant


PLANTERS: dict[str, Callable[[Dice, Sequence[str]], Planter]] = {
    "patch": patch,
    "stamp": stamp,
    "border": border,
    "tint": tint,
    "position": position,
    "blur": blur,
    "noise": noise,
    "bystander": bystander,
}


def _contrasting(dice: Dice) -> Pixels:
    """Return two colours (2, 3), far from each other."""
    while True:
        found = dice.integers(0, 256, (2, 3))
        if np.abs(found[0] - found[1]).sum() > 330:
            return found.astype(np.uint8)


def _box(x: int, y: int, wide: int, tall: int) -> Box:
    return x / SIDE, y / SIDE, (x + wide) / SIDE, (y + tall) / SIDE


def _pasted(pixels: Pixels, part: Pixels, x: int, y: int, alpha: np.ndarray | float = 1.0) -> tuple[Pixels, Box | None]:
    """Return the pixels with a part (h, w, 3) laid over them at x, y, as opaque as `alpha` (h, w) says."""
    changed, (tall, wide) = pixels.copy(), part.shape[:2]
    under = changed[y : y + tall, x : x + wide]
    under[:] = np.rint(under + (part - under.astype(float)) * np.broadcast_to(alpha, (tall, wide))[..., None])
    return changed, _box(x, y, wide, tall)
