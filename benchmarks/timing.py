"""Side-by-side timing: the contenders take turns in one run, so that a noisy machine hits them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. seconds : median per contender; spread : half the interquartile range over the median.

    unit : what stands behind the numbers where they are no seconds.
    """

    what: str
    seconds: dict[str, float]
    spread: dict[str, float]
    target: str = ""
    unit: str = ""

    def ratio(self, other: str) -> float:
        """How many times longer `other` takes than ours."""
        return self.seconds[other] / self.seconds["innersight"]


def race(
    what: str,
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    target: str = "",
    clock: Callable[[], float] = time.perf_counter,
    unit: str = "",
) -> Row:
    """Time every contender once per round, after one round that does not count. clock, unit : what is counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if turn:
                times[name].append(clock() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    spread = {}
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * values
        spread[name] = (high - low) / 2 / median[name]
    return Row(what, median, spread, target, unit)
