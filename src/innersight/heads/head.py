"""How a network's output is read: a Head, and what it is made from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heads.ending import Ending
from innersight.heads.outputs import plain

Link = Literal["softmax", "sigmoid", "none"]
LINKS = get_args(Link)


@dataclass(frozen=True)
class Head:
    """How a network's output becomes one score for each class.

    Parameters
    ----------
    read
        Function of the network's output that returns scores (B, classes); gradients must pass through it.
    link
        What turns scores into probabilities: "softmax" (one class of many, the default), "sigmoid" (each class on its
        own: binary and multi-label networks), or "none" (scores stand for no probability).
    unit
        What the scores are, for legends.
    mark
        Distinguishes heads of one kind, such as two regions, where results are stored.
    fit
        Makes the head that suits a network's output, for heads of a kind (`multilabel`, `region`, `similarity`) rather
        than for one network; `innersight.load` calls it.

    Raises
    ------
    InnersightError
        For another link, and a `read` that is not callable.

    Examples
    --------
    >>> from innersight.heads import Head
    >>> Head(lambda output: output["scores"].amax(1), "sigmoid").link
    'sigmoid'

    """

    read: Callable[[Any], Tensor]
    link: Link = "softmax"
    unit: str = "logits"
    mark: str = ""
    fit: "Callable[[Outputs], Fitted] | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise InnersightError(f"link={self.link!r}: choose {', '.join(LINKS)}")
        if not callable(self.read):
            raise InnersightError(f"read={self.read!r:.60} is not callable: give a function of the network's output")

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probabilities that scores stand for.

        Parameters
        ----------
        scores
            (B, classes), as `read` returns them.

        Returns
        -------
        torch.Tensor
            (B, classes) in 0..1; NaN where `link` is "none".

        """
        if self.link == "softmax":
            return scores.softmax(1)
        return scores.sigmoid() if self.link == "sigmoid" else torch.full_like(scores, torch.nan)


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network gave for random images.

    Attributes
    ----------
    several : object
        For `images` of them.
    strong : object
        For the same, a hundred times as strong: scores grow with them, probabilities do not.
    one : object
        For the first image alone.
    images : int
        How many.
    size : (int, int)
        (H, W) of the images.
    ending : Ending
        What the tensors were made by.

    """

    several: Any
    strong: Any
    one: Any
    images: int
    size: tuple[int, int]
    ending: Ending


@dataclass(frozen=True)
class Fitted:
    """A head for one network.

    Attributes
    ----------
    head : Head
        How its output is read.
    labels : tuple of str
        A name per class; empty where the head knows none.
    notes : tuple of str
        What was assumed.

    """

    head: Head
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def numbered(classes: int) -> tuple[str, ...]:
    """Return the labels of classes that nobody named: their numbers.

    Parameters
    ----------
    classes
        How many.

    Returns
    -------
    tuple of str
        From "0" on.

    Examples
    --------
    >>> from innersight.heads import numbered
    >>> numbered(3)
    ('0', '1', '2')

    """
    return tuple(map(str, range(classes)))


def readable(logits: Float[Tensor, "... classes"]) -> Bool[Tensor, "..."]:
    """Return whether the network's outputs are numbers; -inf rules a class out, but not every one.

    Parameters
    ----------
    logits
        (..., classes).

    Returns
    -------
    torch.Tensor
        (...) bool: False for a row with NaN, with infinity, or with -inf throughout.

    Examples
    --------
    >>> import torch
    >>> from innersight.heads import readable
    >>> readable(torch.tensor([[0.5, -torch.inf], [torch.nan, 1.0]])).tolist()
    [True, False]

    """
    return ~(logits.isnan() | (logits == torch.inf)).any(-1) & (logits != -torch.inf).any(-1)


PLAIN = Head(plain)
"""The head of a network that returns one row of logits for each image."""
