"""What is measured of heatmaps on one image. One file each.

A metric takes a `Case` and returns a number for each map, (maps,) or (methods,) where it has none for the baselines, or
None where the image has none. One that is registered with `fill` is a generator: it yields masks (n, H, W) of the
pixels that stay, is sent the class's probability and logit (n, 2) with the others replaced, and returns the numbers.
"""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from innersight.registry import Registry, word
from innersight.trust.case import Case
from innersight.trust.column import Better, Column, first_line

F = TypeVar("F", bound=Callable[..., object])
Metric = Callable[[Case], object]
metrics: Registry[Metric] = Registry("metric", "innersight.trust.metrics")
columns: dict[str, Column] = {}
fills: dict[str, str] = {}
chances: dict[str, Callable[[Case], float]] = {}

SAME = "same"
"""The replacement that `trust` was asked for."""


def register(
    title: str,
    better: Better,
    *,
    fill: str | None = None,
    chance: Callable[[Case], float] | None = None,
    against: str | None = None,
) -> Callable[[F], F]:
    """Register a metric; the first line of its docstring says what it is.

    title : for the head of a table. better : "high", "low", or "". fill : the replacement of removed pixels, or `SAME`.
    chance : what a map that knows nothing reaches on an image, and against : what that is called.
    """

    def add(function: F) -> F:
        metrics.register(function)
        name = word(function.__name__)
        columns[name] = Column(title, better, first_line(function), against)
        if fill is not None:
            fills[name] = fill
        if chance is not None:
            chances[name] = chance
        return function

    return add


def number(one: object) -> Tensor | None:
    """Return what a metric gave, checked."""
    assert one is None or isinstance(one, Tensor)
    return one
