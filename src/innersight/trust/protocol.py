"""How pixels are removed: what fills them, and in how many steps."""

from dataclasses import dataclass

from innersight.errors import InnersightError
from innersight.scalars import integer
from innersight.trust.imputers import imputers

COARSE = 5


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

    Raises
    ------
    InnersightError
        For an unknown imputer, and for steps below 1.

    Examples
    --------
    >>> str(Protocol("mean", steps=5))
    'mean, 5 steps'

    """

    imputer: str = "blur"
    steps: int = COARSE

    def __post_init__(self) -> None:
        imputers.entry(self.imputer)
        object.__setattr__(self, "steps", integer(self.steps, "steps"))
        if self.steps < 1:
            raise InnersightError(f"steps is {self.steps}; give 1 or more")

    def __str__(self) -> str:
        return f"{self.imputer}, {self.steps} step{'s' * (self.steps != 1)}"


def others(protocol: Protocol) -> tuple[Protocol, ...]:
    """Return other protocols, to see whether the order of the methods depends on it.

    Fewer steps, where these are many, and other imputers with few.
    """
    few = min(COARSE, protocol.steps)
    names = [name for name in imputers if name != protocol.imputer or protocol.steps > few]
    return tuple(Protocol(name, few) for name in names)
