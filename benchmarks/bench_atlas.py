"""The atlas of the toon network's last block, against what was estimated before it began."""

import statistics
import time
from typing import Any

import innersight as ins
from benchmarks.timing import Row
from innersight.atlas import estimate
from innersight.toons import Drawn

PER_CLASS, ROUNDS = 40, 3


def measure() -> list[Row]:
    model, images = ins.load("toon"), Drawn(per_class=PER_CLASS)
    times: dict[str, list[float]] = {"innersight": [], "estimated": []}
    cells = 0
    for _ in range(ROUNDS):
        planned = estimate(model, images, "stage4")
        times["estimated"].append(planned.seconds)
        begun = time.perf_counter()
        found: Any = ins.atlas(model, images, "stage4")
        times["innersight"].append(time.perf_counter() - begun)
        cells = sum(len(level) for level in found.levels if level.drawn)
    what = f"Atlas of toon, stage4, {10 * PER_CLASS} drawings, grid 20, {cells} patterns"
    median = {name: statistics.median(values) for name, values in times.items()}
    spread = {name: (max(values) - min(values)) / 2 / median[name] for name, values in times.items()}
    return [Row(what, median, spread, "6 minutes on 2 cores, estimate within 25%")]
