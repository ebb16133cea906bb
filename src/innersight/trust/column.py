"""What a column of the table is called, and which way is better."""

from dataclasses import dataclass
from typing import Literal

from innersight.errors import InnersightError
from innersight.trust.ground_truth import ground_truth
from innersight.trust.metrics import metrics

Better = Literal["high", "low", ""]


@dataclass(frozen=True)
class Column:
    """A number of every map.

    Attributes
    ----------
    title
        In tables and figures.
    better
        "high" or "low"; "" where neither is.
    description
        What it measures, without a full stop.
    against
        What the score of a map that knows nothing is called in a sentence; None where it is not known.

    """

    title: str
    better: Better
    description: str
    against: str | None = None


def describe_column(name: str) -> Column:
    """Return the title and meaning of a column of the table.

    Parameters
    ----------
    name
        A metric or a ground truth.

    Returns
    -------
    Column
        Its title, which way is better, and its description.

    Raises
    ------
    InnersightError
        For an unknown column.

    Examples
    --------
    >>> describe_column("road").better
    'high'

    """
    known = [*metrics, *ground_truth]
    if name not in known:
        raise InnersightError(f"no column {name!r}; choose from: {', '.join(known)}")
    entry = metrics.entry(name) if name in metrics else ground_truth.entry(name)
    return Column(entry.title, entry.better, entry.summary.rstrip("."), entry.against)
