"""Toons as a data set: drawn when asked for, with the masks of their parts."""

from __future__ import annotations

from typing import Any

from .toon import CLASSES, draw


class Drawn:
    """A data set of drawn characters, drawn when asked for, one character after the other.

    Entries are dicts: `image`, (size, size, 3) uint8; `label`, the character's name; `masks`, (size, size) bool of each
    of `PARTS`.

    Parameters
    ----------
    per_class
        Images of each of `CLASSES`, at least 1.
    seed
        Of the first image of each class; 0 or more.
    size
        Pixels to a side, at least 16.
    colours
        "own", or "shuffled" between the characters; see `draw`.

    Raises
    ------
    ValueError
        For `per_class` below 1; a wrong seed, size or way to colour is seen when an image is drawn.

    Examples
    --------
    >>> from innersight.toons import Drawn
    >>> found = Drawn(per_class=2)
    >>> len(found), found[0]["label"], found[0]["masks"]["hair"].shape
    (20, 'ambra', (96, 96))

    """

    def __init__(self, per_class: int = 20, *, seed: int = 0, size: int = 96, colours: str = "own") -> None:
        if per_class < 1:
            raise ValueError(f"per_class is {per_class}; draw at least 1 image of each class")
        self.per_class, self.seed, self.size, self.colours = per_class, seed, size, colours

    def __len__(self) -> int:
        return len(CLASSES) * self.per_class

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} toons, numbered from 0, and no {number}")
        name = CLASSES[number // self.per_class]
        toon = draw(name, self.seed + number % self.per_class, size=self.size, colours=self.colours)
        return {"image": toon.pixels, "label": name, "masks": toon.masks}
