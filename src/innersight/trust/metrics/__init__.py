"""What is measured of heatmaps on one image. One file each.

A metric takes a `Case` and returns a number for each map, (maps,), or (methods,) where the baselines have none. One
that is registered with `imputer` is a generator: it yields masks (n, H, W) of the pixels that stay, is sent the class's
probability and logit (n, 2) with the others imputed, and returns the numbers.
"""

from collections.abc import Callable

from torch import Tensor

from innersight.registry import Entry, Registry
from innersight.trust.case import Case

Metric = Callable[[Case], object]
metrics: Registry[Metric] = Registry(
    "metric", "innersight.trust.metrics",
    better="", primary=False, component=False, protocol=False, imputer=None, masks=None, needs=(), control=None,
    doubtful_from=None, chance=None, against=None,
)  # fmt: skip
"""Beside its title, an entry states:

- better : which way, "high", "low", or "" where neither is.
- primary : whether methods are ranked by it; one metric is. It is a function of the curves of a case.
- component : whether it is a term of another metric, and has no column in figures and tables of the terminal.
- protocol : whether it is another way to rank the maps, whose order is compared with that of the primary metric.
- imputer : the imputer of removed pixels, or `SAME`; of a metric that needs passes. Unless it is a control, it is
  measured on `Protocol.secondary_images` of the images alone.
- masks : of a metric that needs passes, how many: a function of the numbers of methods, maps and steps.
- needs : what it takes beside the maps: names of `trust.conditions`, or `REGIONS`. Left out where that is missing.
- control : the condition under which it is the primary score of the same method; each method is compared with it.
- doubtful_from : from which mean on it makes a method doubtful, where its interval lies above that.
- chance : what a map that knows nothing reaches on an image, a function of a Case, and against : what that is called.
"""

SAME = "same"
"""The imputer of the protocol that `trust` was called with."""
REGIONS = "regions"
"""Stands in `needs` for a region of the class on the image."""


def asked(secondary: bool) -> list[Entry[Metric]]:
    """Return the metrics that are measured on an image. secondary : whether those are that decide no verdict."""
    return [entry for entry in metrics.entries() if secondary or entry.imputer is None or entry.control is not None]


def primary() -> Entry[Metric]:
    """Return the metric by which methods are ranked."""
    (found,) = (entry for entry in metrics.entries() if entry.primary)
    return found


def number(one: object) -> Tensor:
    """Return what a metric returned, checked."""
    assert isinstance(one, Tensor)
    return one
