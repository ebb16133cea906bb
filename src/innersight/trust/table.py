"""The numbers of the table: means with their intervals, rows, and paired tests."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from innersight.statistics import bootstrap

Standing = Literal["believed", "doubtful", "undecided"]
Compared = Literal["better", "worse", "open", "few"]


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over images.

    Attributes
    ----------
    mean
        Over the images that have the number.
    interval
        Its 95% bootstrap interval, None for a single image.
    count
        Of images.

    """

    mean: float
    interval: tuple[float, float] | None
    count: int


@dataclass(frozen=True)
class Row:
    """A row of the table: a method or a baseline.

    Attributes
    ----------
    name
        Of the method or baseline.
    values
        By column.
    empty
        Images on which the map ranks nothing (constant, or not numbers), so that its pixels were ranked at random.
    standing
        Of a method; None of a baseline.

    """

    name: str
    values: dict[str, MeanEstimate]
    empty: int
    standing: Standing | None


@dataclass(frozen=True)
class PairedTest:
    """A method compared with a baseline, a control, chance or another method on the same images.

    Attributes
    ----------
    method
        The method.
    against
        What it is compared with: a name in the table, a control, or what chance is called.
    phrase
        The same as it is called in a sentence.
    column
        What was compared.
    difference
        Mean of the method's value minus the other's.
    p
        Of the two-sided sign-flip test, after Holm's correction for all tests of its kind.
    count
        Of images.

    """

    method: str
    against: str
    phrase: str
    column: str
    difference: float
    p: float
    count: int

    def outcome(self, needed: int, level: float = 0.05) -> Compared:
        """Return how the comparison came out.

        Parameters
        ----------
        needed
            Images without which nothing can be said.
        level
            Of p above which nothing is shown.

        Returns
        -------
        str
            "few" with fewer images than needed, "open" above the level, else "better" or "worse".

        """
        if self.count < needed:
            return "few"
        if self.p > level:
            return "open"
        return "better" if self.difference > 0 else "worse"


def estimate(values: Tensor, i: int) -> MeanEstimate | None:
    """Return the mean of a column (images, maps) for map `i`, None where it has none."""
    if i >= values.shape[1]:
        return None
    own = values[:, i][values[:, i].isfinite()].double().numpy()
    return MeanEstimate(float(np.mean(own)), bootstrap(own), len(own)) if len(own) else None
