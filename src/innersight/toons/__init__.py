"""Drawn characters with a mask for every part and a redraw without it: a data set whose truth is known.

Every character is an original design. `draw(name, seed)` gives one image, `write(folder)` a training set, `Drawn()` a
data set with masks.
"""

from __future__ import annotations

from .canvas import PARTS
from .drawn import Drawn
from .toon import CLASSES, Toon, draw, write

__all__ = ["CLASSES", "PARTS", "Drawn", "Toon", "draw", "write"]
