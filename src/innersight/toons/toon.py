"""Toon: one drawn image with its parts; draw it, redraw it without a part, write many."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from innersight.brief import brief
from innersight.storage.writing import filling, remove_leftovers

from .backdrop import paint_before, paint_behind
from .canvas import PARTS, Canvas
from .characters import CAST
from .figure import paint_figure
from .scene import other_character, sample

CLASSES: tuple[str, ...] = tuple(sorted(CAST))
COLOURS = ("own", "shuffled")


@dataclass(frozen=True, eq=False)
class Toon:
    """A drawn character and which part every pixel belongs to; all arrays are read-only.

    Attributes
    ----------
    name : str
        One of `CLASSES`.
    seed : int
        Fixes everything about the image but its size; 0 or more.
    size : int
        Pixels to a side.
    removed : str or None
        The part that was left out, one of `PARTS`.
    colours : str
        "own" or "shuffled", see `draw`.
    pixels : numpy.ndarray
        (size, size, 3) uint8, RGB.
    parts : numpy.ndarray
        (size, size) uint8, index into `PARTS`; the part at the pixel's centre.
    touched : numpy.ndarray
        (size, size) uint8, bit i set where part i colours at least a ninth of the pixel.

    """

    name: str
    seed: int
    size: int
    removed: str | None
    colours: str
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    parts: npt.NDArray[np.uint8] = field(repr=False)
    touched: npt.NDArray[np.uint8] = field(repr=False)

    __repr__ = brief

    def mask(self, part: str) -> npt.NDArray[np.bool_]:
        """Return where one part is seen; the masks of all `PARTS` partition the image.

        Parameters
        ----------
        part
            One of `PARTS`.

        Returns
        -------
        numpy.ndarray
            (size, size) bool.

        Raises
        ------
        ValueError
            For an unknown part.

        """
        return np.asarray(self.parts == PARTS.index(_known("part", part, PARTS)), dtype=np.bool_)

    @property
    def masks(self) -> Mapping[str, npt.NDArray[np.bool_]]:
        """The mask of every part, by name."""
        return MappingProxyType({part: self.mask(part) for part in PARTS})

    def touches(self, part: str) -> npt.NDArray[np.bool_]:
        """Return where one part colours the pixel at all, rim included.

        Parameters
        ----------
        part
            One of `PARTS`.

        Returns
        -------
        numpy.ndarray
            (size, size) bool, a superset of the mask. Outside it, the image redrawn without that part is identical.

        Raises
        ------
        ValueError
            For an unknown part.

        """
        bit = np.uint8(1 << PARTS.index(_known("part", part, PARTS)))
        return np.asarray(self.touched & bit, dtype=np.bool_)

    def without(self, part: str) -> Toon:
        """Redraw the same scene without one part (the counterfactual); see `draw`.

        Parameters
        ----------
        part
            One of `PARTS`.

        Returns
        -------
        Toon
            The scene without it.

        Raises
        ------
        ValueError
            For an unknown part, and where a part was removed already.

        """
        if self.removed is not None:
            whole = f"draw({self.name!r}, {self.seed})"
            raise ValueError(f"this toon is already without {self.removed!r}; take {part!r} from {whole}")
        return draw(self.name, self.seed, size=self.size, without=part, colours=self.colours)


def draw(name: str, seed: int, *, size: int = 96, without: str | None = None, colours: str = "own") -> Toon:
    """Draw a character in the scene of a seed: pose, light, setting, passers-by, partial occlusion.

    Parameters
    ----------
    name
        One of `CLASSES`.
    seed
        0 or more; the same name and seed give the same image.
    size
        Pixels to a side, at least 16.
    without
        One of `PARTS`, left out as if it had never been there; None for the whole character. Beneath hair is the scalp,
        beneath an accessory whatever it hid, beneath eyes and mouth skin, beneath clothes a grey dress form (which is
        `skin`). Without skin what lay behind it shows. Without background the figure stands whole before a flat grey,
        with no passers-by and nothing in front; that grey still has the mask `background`.
    colours
        "own": hair, eyes, clothes and accessories have the character's colours. "shuffled": those of a character thrown
        for each image. Colours say less of the character then, not nothing: see docs/decisions/0021.

    Returns
    -------
    Toon
        The image and its parts.

    Raises
    ------
    ValueError
        For an unknown name, part or way to colour, a negative seed or too small a size.

    Examples
    --------
    >>> from innersight.toons import draw
    >>> toon = draw("ambra", 7)
    >>> toon.pixels.shape, toon.parts.shape
    ((96, 96, 3), (96, 96))
    >>> bald = toon.without("hair")
    >>> bool(bald.mask("hair").any()), bool((bald.pixels == toon.pixels)[~toon.touches("hair")].all())
    (False, True)

    """
    _known("toon", name, CLASSES)
    if without is not None:
        _known("part", without, PARTS)
    _known("colours", colours, COLOURS)
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a non-negative integer")
    if size < 16:
        raise ValueError(f"size is {size}; a toon needs at least 16 pixels to a side")
    scene, who = sample(name, seed), CAST[name]
    if colours == "shuffled":
        who = who.in_colours_of(CAST[other_character(name, seed, CLASSES)])
    canvas = Canvas(size, without, scene.gain)
    if without != "background":
        paint_behind(canvas, scene)
    paint_figure(canvas, who, scene)
    if without != "background":
        paint_before(canvas, scene)
    pixels, parts, touched = canvas.develop()
    for array in (pixels, parts, touched):
        array.setflags(write=False)
    return Toon(name, seed, size, without, colours, pixels, parts, touched)


def write(
    folder: Path,
    *,
    per_class: int = 400,
    seed: int = 0,
    size: int = 96,
    masks: Path | None = None,
    colours: str = "own",
) -> int:
    """Write a class-per-folder tree of PNG files, `folder/NAME/NAME-SEED.png`.

    Nothing is left in the folders where it ends before all are drawn.

    Parameters
    ----------
    folder
        New or empty.
    per_class
        Images of each of `CLASSES`, from seeds `seed` to `seed + per_class - 1`; at least 1.
    seed
        The first seed; 0 or more.
    size
        Pixels to a side, at least 16.
    masks
        New or empty folder for the parts, `masks/NAME/NAME-SEED.png`, grey values that `masks/parts.json` names; they
        are not written when None.
    colours
        "own" or "shuffled", see `draw`.

    Returns
    -------
    int
        How many images.

    Raises
    ------
    FileExistsError
        If a folder holds anything.
    WriteError
        If one cannot be written.
    ValueError
        As `draw` does, for `per_class` below 1, or for one folder inside the other, where masks would be read as
        images.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from innersight.toons import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder), per_class=1, size=32)
    10

    """
    if per_class < 1:
        raise ValueError(f"per_class is {per_class}; write at least 1 image of each class")
    folders = [Path(folder)] if masks is None else [Path(folder), Path(masks)]
    for one in folders:
        if one.is_dir():
            remove_leftovers(one)
        if one.exists() and any(one.iterdir()):
            raise FileExistsError(f"{one} is not empty; name a new or empty folder to write toons to")
    if masks is not None:
        images, parts = (one.resolve() for one in folders)
        if images.is_relative_to(parts) or parts.is_relative_to(images):
            raise ValueError(f"masks={str(masks)!r}: name a folder beside {str(folder)!r}; neither may be in the other")
    with ExitStack() as stack:
        parts_of = [stack.enter_context(filling(one)) for one in folders]
        if masks is not None:
            (parts_of[1] / "parts.json").write_text(json.dumps(PARTS) + "\n")
        for name in CLASSES:
            for one in parts_of:
                (one / name).mkdir()
            for s in range(seed, seed + per_class):
                toon = draw(name, s, size=size, colours=colours)
                for one, values in zip(parts_of, (toon.pixels, toon.parts), strict=False):
                    PILImage.fromarray(values).save(one / name / f"{name}-{s:06d}.png", compress_level=1)
    return len(CLASSES) * per_class


def _known(what: str, value: str, choice: Sequence[str]) -> str:
    if value not in choice:
        near = difflib.get_close_matches(str(value), choice, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown {what} {value!r}; did you mean {near!r}? Choose from {', '.join(choice)}")
    return value
