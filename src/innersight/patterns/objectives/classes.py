"""A class."""

from collections.abc import Callable

from torch import Tensor

from innersight.address import ClassAddress
from innersight.patterns.objectives import Read, Rows, objectives


@objectives.register(
    "Class score",
    source="Simonyan et al. 2013, arXiv:1312.6034",
    use="to see what a class looks like to the network",
    takes="class",
    example="class:NAME",
)
def logit(rows: Rows) -> Read:
    """Maximize the score of a class before any softmax."""
    return _scores(rows, lambda scores: scores)


@objectives.register(
    "Class probability",
    source="Simonyan et al. 2013, arXiv:1312.6034",
    use="to see what sets a class apart from the others",
    takes="class",
    example="probability(class:NAME)",
)
def probability(rows: Rows) -> Read:
    """Maximize the probability of a class, which also lowers the other classes; flat where the class is certain."""
    return _scores(rows, rows.model.probabilities)


def _scores(rows: Rows, of: Callable[[Tensor], Tensor]) -> Read:
    names = [term.address.name for term in rows.terms if isinstance(term.address, ClassAddress)]
    classes = rows.tensor([rows.model.class_index(name) for name in names])

    def read(scores: Tensor) -> Tensor:
        values: Tensor = of(scores.float())[rows.at, classes]
        return values

    return read
