"""What is measured of heatmaps on one image. One file each.

A metric takes a `Case` and returns a number for each map, (maps,) or (methods,) where it has none for the baselines, or
None where the image has none. One that is registered with `fill` is a generator: it yields masks (n, H, W) of the
pixels that stay, is sent the class's probability and logit (n, 2) with the others replaced, and returns the numbers.
"""

from collections.abc import Callable

from torch import Tensor

from innersight.registry import Registry
from innersight.trust.case import Case

Metric = Callable[[Case], object]
metrics: Registry[Metric] = Registry(
    "metric", "innersight.trust.metrics", better="", fill=None, chance=None, against=None
)
"""Beside its title, an entry states:

- better : which way, "high", "low", or "" where neither is.
- fill : the replacement of removed pixels, or `SAME`; of one that asks for passes.
- chance : what a map that knows nothing reaches on an image, a function of a Case, and against : what that is called.
"""

SAME = "same"
"""The replacement that `trust` was asked for."""


def number(one: object) -> Tensor | None:
    """Return what a metric gave, checked."""
    assert one is None or isinstance(one, Tensor)
    return one
