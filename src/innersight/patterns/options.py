"""How patterns are drawn: the options of `patterns`, of the command of that name, and of what is stored with them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from innersight.errors import InnersightError, whole
from innersight.options import chosen, convert, made
from innersight.registry import converted

LEAST_SIDE = 8
PADS = ("reflection", "border", "zeros")
UNTIL = ("converged", "steps")
PRECISIONS = ("float32", "bfloat16")
STATISTICS = ("photographs", "images")


@dataclass(frozen=True)
class Statistics:
    """Colours and spectrum of natural images, in which patterns are written; see `measure_statistics`.

    Attributes
    ----------
    mean : tuple of float
        Of each channel, pixels in 0..1.
    axes : tuple of tuple of float
        One row per decorrelated channel, the widest spread first: what one standard deviation along it adds to each
        channel, in pixels.
    slopes : tuple of float
        Of each decorrelated channel the exponent `a` where amplitude falls as `1 / frequency ** a`.

    """

    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    slopes: tuple[float, ...]

    def __post_init__(self) -> None:
        convert(self)


@dataclass(frozen=True)
class Views:
    """Random transformations under which a pattern must hold; each update draws new ones for each image.

    Attributes
    ----------
    shift : float
        Largest shift (jitter), as a fraction of the side; 0 to 1.
    zoom : float
        Largest change of scale around 1; 0 to below 1.
    rotate : float
        Largest rotation, in degrees, to both sides.
    crop : float
        Side of the smallest crop that is shown at full size, as a fraction of the image's; above 0, up to 1 (no crop).
    noise : float
        Standard deviation of the noise added to pixels in 0..1; 0 or more.
    pad : str
        What lies beyond the edge: "reflection", "border" or "zeros" (grey).

    Examples
    --------
    >>> from innersight.patterns import Views
    >>> Views.parse("shift=0.1,noise=0.05")
    Views(shift=0.1, zoom=0.08, rotate=8.0, crop=1.0, noise=0.05, pad='reflection')

    """

    shift: float = 0.06
    zoom: float = 0.08
    rotate: float = 8.0
    crop: float = 1.0
    noise: float = 0.0
    pad: str = "reflection"

    def __post_init__(self) -> None:
        convert(self)
        if not (0 <= self.shift <= 1 and 0 <= self.zoom < 1 and 0 < self.crop <= 1 and self.noise >= 0):
            raise InnersightError(f"{self}: shift 0..1, zoom 0..1, crop above 0 and up to 1, noise not negative")
        chosen("pad", self.pad, PADS)

    @classmethod
    def parse(cls, text: str) -> "Views":
        """Return the views that a text such as "shift=0.1,noise=0.05" names; the rest as by default.

        Parameters
        ----------
        text
            NAME=VALUE, separated by commas.

        Returns
        -------
        Views
            What the text names.

        Raises
        ------
        InnersightError
            For an unknown name, with the nearest ones, and for a value that does not fit.

        """
        pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
        for name, equals, _ in pairs:
            if not equals:
                raise InnersightError(f"views: {name!r} has no value; write {name}=0.1")
        return cls(**converted("views", {name.strip(): value.strip() for name, _, value in pairs}, asdict(cls())))


def _sides(text: str) -> int | tuple[int, int]:
    parts = text.split("x")
    sides = [side for side in map(whole, parts) if side is not None]
    if len(parts) > 2 or len(sides) < len(parts):
        raise InnersightError(f"size={text!r}: give a side in pixels such as 96, or HEIGHTxWIDTH such as 64x96")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


@dataclass(frozen=True)
class PatternOptions:
    """Options of `patterns`: plain values, stored with the patterns as they are.

    Attributes
    ----------
    steps : int
        Updates of each image at most; 1 or more. One update counts a whole image: units of early layers are optimized
        through windows of a quarter of it and get four times as many.
    size : int, (int, int) or None
        Side of the patterns in pixels, or (height, width); 8 or more. The network's own input size when
        None.
    seed : int
        First seed of the random start; 0 or more. The random streams of a pattern depend on the seed and on its text
        only.
    seeds : int
        Images drawn of each objective, with seeds `seed`, `seed + 1`, ...; the one with the highest response is shown.
        1 or more.
    negatives : bool
        Draw also the images that inhibit each unit or class most; takes twice as long.
    variants : int
        Images of each objective that are made to differ from each other; 1 or more.
    diversity : float
        Weight of the term that makes variants differ; 0 for none. Unused with one variant.
    contrast : float
        Largest contrast of a pattern (root mean square of its decorrelated colours) where 1 is that of natural images;
        0 or more, 0 for no bound. Without one, what excites a unit most is pure colours. Unused with "maco" and
        "pixels", and with `init` and a `reference`, which have a contrast of their own.
    natural : float
        0 draws the strongest image. Above 0, up to 1, the image shall look to the network like the images given that
        excite it most: the values of several layers, sorted, are matched to theirs. 0.5 balances both. Needs images.
    parameterize : str
        How an image is written as free numbers: "fourier" (natural spectrum and colours), "maco" (natural magnitudes,
        only phases are found), "pixels", or another registered parameterization.
    statistics : str or Statistics
        Colours and spectrum of natural images: "photographs", "images" (measured on the images given), or a measured
        `Statistics`.
    views : Views
        Random transformations under which each update sees the image: shift, zoom, rotate, crop, noise, pad.
    lr : float or None
        Learning rate of Adam; above 0, below 100. When None the parameterization's own, a third of it for `natural`
        above 0.
    until : str
        When an image is finished: "converged" when it stops rising, or after `steps`; "steps" only after all steps.
    precision : str
        Type in which the passes are computed: "float32" or "bfloat16". Scores are always in the network's own type.
    growth : bool
        Keep each pattern as it was after 0, 1, 2, 3, 4, 6, 8, 11, 16, ... updates, for `Patterns.growth`.
    compile : bool or str
        Run the passes through torch.compile: True, or the name of a backend. Worth it for hundreds of units.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.patterns import Views
    >>> options = ins.PatternOptions(steps=64, size=(64, 96), views=Views(noise=0.05))
    >>> options.size, options.views.noise
    ((64, 96), 0.05)

    """

    steps: int = 256
    size: int | tuple[int, int] | None = field(default=None, metadata={"parse": _sides})
    seed: int = 0
    seeds: int = 2
    negatives: bool = False
    variants: int = 1
    diversity: float = 1.0
    contrast: float = 1.5
    natural: float = 0.0
    parameterize: str = "fourier"
    statistics: str | Statistics = "photographs"
    views: Views = Views()
    lr: float | None = None
    until: str = "converged"
    precision: str = "float32"
    growth: bool = False
    compile: bool | str = False

    def __post_init__(self) -> None:
        convert(self)
        if self.steps < 1:
            raise InnersightError(f"steps={self.steps}: a pattern needs at least one step")
        sides = self.size if isinstance(self.size, tuple) else () if self.size is None else (self.size,)
        if sides and min(sides) < LEAST_SIDE:
            raise InnersightError(f"size={self.size}: give at least {LEAST_SIDE} pixels")
        if self.seeds < 1 or self.variants < 1:
            raise InnersightError(f"seeds={self.seeds} and variants={self.variants} must be at least 1")
        if not 0 <= self.contrast < math.inf:
            raise InnersightError(f"contrast={self.contrast}: give 1 for that of natural images, 0 for no bound")
        if not 0 <= self.natural <= 1:
            raise InnersightError(f"natural={self.natural}: give a number from 0 (strongest) to 1 (most natural)")
        if self.lr is not None and not 0 < self.lr < 100:
            raise InnersightError(f"lr={self.lr}: give a positive number, such as 0.1")
        chosen("until", self.until, UNTIL)
        chosen("precision", self.precision, PRECISIONS)
        if isinstance(self.statistics, str) and self.statistics not in STATISTICS:
            raise InnersightError(
                f"statistics={self.statistics!r}: choose photographs or images, or give a measured Statistics"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain data, which `from_json` reads."""
        found = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PatternOptions":
        """Return the options that `to_json` described.

        Parameters
        ----------
        data
            As `to_json` returns it; what is no option is left out.

        Examples
        --------
        >>> import innersight as ins
        >>> ins.PatternOptions.from_json(ins.PatternOptions(steps=3).to_json()).steps
        3

        """
        return made(cls, {one.name: data[one.name] for one in fields(cls) if one.name in data})
