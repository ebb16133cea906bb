"""Which layer of the network a logged histogram or scalar is of, and the records made of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from innersight.train.events import BINS
from innersight.train.records import empty_record, finite

if TYPE_CHECKING:
    from innersight.train.logs.log import Series

MAX_ROWS = 1500  # records in all layers together
FIGURES = ("weight_norm", "gradient_norm", "update_ratio", "dead")
_WEIGHTS = {"weight", "weights", "kernel", "w"}
_OTHER = {"bias", "b", "beta", "gamma", "moving_mean", "moving_variance", "running_mean", "running_var"}
_PARTS = re.compile(r"[/.:|\s]+")


@dataclass(frozen=True)
class LoggedHistogram:
    """Counts at one step: (N,) counts, and (N + 1,) rising edges."""

    step: int
    edges: np.ndarray
    counts: np.ndarray


class LayerNames:
    """Finds the layer that a name is about: the longest layer name whose parts stand in it one after another."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._by_parts = {tuple(_PARTS.split(name)): name for name in layers}
        self._longest = max(map(len, self._by_parts), default=0)

    def find(self, name: str) -> tuple[str, str] | None:
        """Return layer and "weight" or "gradient"; None where the name is of neither, or could be of two layers."""
        parts = tuple(filter(None, _PARTS.split(name)))
        for size in range(min(self._longest, len(parts)), 0, -1):
            at = [i for i in range(len(parts) - size + 1) if parts[i : i + size] in self._by_parts]
            if len(at) == 1:
                kind = _kind([*parts[: at[0]], *parts[at[0] + size :]])
                return None if kind is None else (self._by_parts[parts[at[0] : at[0] + size]], kind)
            if at:
                return None
        return None


def _kind(parts: Sequence[str]) -> str | None:
    """Return what the other parts of a name say: the weights, their gradient, or something else (a bias, an output)."""
    words = {part.lower() for part in parts}
    gradient = {word for word in words if word.startswith("grad")}
    if _OTHER & words or not (gradient or _WEIGHTS & words):
        return None
    return "gradient" if gradient else "weight"


def layer_records(
    histograms: Mapping[str, Sequence[LoggedHistogram]], scalars: Mapping[str, "Series"], layers: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], set[str], list[str]]:
    """Return the record of each layer that a log has something of, the scalars used up, and histograms of no layer."""
    names = LayerNames(layers)
    found: dict[str, dict[str, dict[int, LoggedHistogram]]] = {}
    unknown = []
    for name, several in histograms.items():
        which = names.find(name)
        if which is None or which[1] in found.get(which[0], {}):
            unknown.append(name)
        else:
            found.setdefault(which[0], {})[which[1]] = {one.step: one for one in several}
    figures: dict[str, dict[str, Series]] = {}
    taken = set()
    for name, series in scalars.items():
        figure, _, layer = name.partition("/")
        if figure in FIGURES and layer in layers:
            figures.setdefault(layer, {})[figure] = series
            taken.add(name)
    records = {}
    own = [name for name in layers if name in found or name in figures]
    for name in own:
        drawn, curves = found.get(name, {}), figures.get(name, {})
        steps = sorted(
            {*(step for by in drawn.values() for step in by), *(s for one in curves.values() for s in one.step)}
        )
        every = max(1, -(-len(steps) * len(own) // MAX_ROWS))
        records[name] = _record(steps[::-1][::every][::-1], drawn, curves)
    return records, taken, unknown


def _record(
    steps: list[int], drawn: Mapping[str, Mapping[int, LoggedHistogram]], curves: Mapping[str, "Series"]
) -> dict[str, Any]:
    record = empty_record()
    record["step"] = steps
    for key in FIGURES:
        known = dict(zip(curves[key].step, finite(list(curves[key].value)), strict=True)) if key in curves else {}
        record[key] = [known.get(step) for step in steps]
    for key in ("weight", "gradient"):
        by_step = drawn.get(key, {})
        for step in steps:
            low, high, counts = even(by_step[step]) if step in by_step else (None, None, None)
            record[f"{key}_histogram"]["edges_low"].append(low)
            record[f"{key}_histogram"]["edges_high"].append(high)
            record[f"{key}_histogram"]["counts"].append(counts)
    return record


def even(found: LoggedHistogram) -> tuple[float, float, list[float]]:
    """Return lowest edge, highest edge, and counts in 32 equal bins; a bin's counts are spread evenly over its width.

    >>> import numpy as np
    >>> low, high, counts = even(LoggedHistogram(0, np.array([0.0, 2.0, 4.0]), np.array([16.0, 32.0])))
    >>> low, high, counts[0], counts[-1]
    (0.0, 4.0, 1.0, 2.0)
    """
    edges, counts = found.edges, found.counts
    low, high = float(edges[0]), float(edges[-1])
    # Of values that are all the same.
    if not high > low:
        return low, high, [float(counts.sum())] + [0.0] * (BINS - 1)
    # Shares of the width from the lowest edge: no difference of huge edges is taken of huge numbers.
    at = np.interp(np.linspace(0, 1, BINS + 1), (edges - low) / (high - low), np.r_[0.0, np.cumsum(counts)])
    return low, high, [float(f"{count:.5g}") for count in np.diff(at)]
