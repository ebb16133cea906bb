"""What a number of a heatmap is called, and which way is better."""

from dataclasses import dataclass
from typing import Literal

from innersight.errors import InnersightError

Better = Literal["high", "low", ""]


@dataclass(frozen=True)
class Column:
    """A number of every map. better : which way; "" where neither is. says : the number in a sentence.

    against : what a map that knows nothing is called, where it is known what that reaches.
    """

    title: str
    better: Better
    says: str
    against: str | None = None


def about(name: str) -> Column:
    """Return what there is to say about a column of the table."""
    from innersight.trust.metrics import metrics
    from innersight.trust.truths import truths

    known = [*metrics, *truths]
    if name not in known:
        raise InnersightError(f"no column {name!r}; choose from: {', '.join(known)}")
    entry = metrics.entry(name) if name in metrics else truths.entry(name)
    return Column(entry.title, entry.better, entry.summary.rstrip("."), entry.against)


def first_line(function: object) -> str:
    """Return the sentence with which a docstring begins."""
    return (function.__doc__ or "").strip().splitlines()[0].rstrip(".")
