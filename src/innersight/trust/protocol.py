"""How pixels are removed: what fills them, and in how many steps."""

from dataclasses import dataclass

from innersight.errors import InnersightError
from innersight.scalars import integer
from innersight.trust.imputers import imputers

COARSE = 5
SECONDARY = 6
ORDERED = 4
"""From so many methods on, other protocols order the methods alone, and no baselines."""


@dataclass(frozen=True)
class Protocol:
    """How pixels are removed from an image, in the order of a heatmap.

    Parameters
    ----------
    imputer
        What fills removed pixels: "blur", "inpaint", "mean" or "noise".

        See `innersight.trust.imputers`.
    steps
        In how many equal portions the pixels are removed, 1 or more.
    secondary_images
        On how many of the images that is measured which needs passes of its own and decides no verdict: ROAD,
        infidelity, and the order of the methods under other protocols.

        None for all.

    Raises
    ------
    InnersightError
        For an unknown imputer, and for numbers below 1.

    Examples
    --------
    >>> str(Protocol("mean", steps=5))
    'mean, 5 steps'

    """

    imputer: str = "blur"
    steps: int = COARSE
    secondary_images: int | None = SECONDARY

    def __post_init__(self) -> None:
        imputers.entry(self.imputer)
        object.__setattr__(self, "steps", integer(self.steps, "steps"))
        if self.steps < 1:
            raise InnersightError(f"steps is {self.steps}; give 1 or more")
        if self.secondary_images is not None:
            object.__setattr__(self, "secondary_images", integer(self.secondary_images, "secondary_images"))
            if self.secondary_images < 1:
                raise InnersightError(f"secondary_images is {self.secondary_images}; give 1 or more")

    def is_secondary(self, number: int) -> bool:
        """Return whether everything is measured on an image.

        Parameters
        ----------
        number
            Of the image, from 0.

        """
        return self.secondary_images is None or number < self.secondary_images

    def __str__(self) -> str:
        return f"{self.imputer}, {self.steps} step{'s' * (self.steps != 1)}"


def others(protocol: Protocol) -> tuple[Protocol, ...]:
    """Return other protocols, to see whether the order of the methods depends on it.

    Fewer steps, where these are many, and other imputers with few.
    """
    few = min(COARSE, protocol.steps)
    names = [name for name in imputers if name != protocol.imputer or protocol.steps > few]
    return tuple(Protocol(name, few) for name in names)
