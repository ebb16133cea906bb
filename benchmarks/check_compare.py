"""Does the unit that `compare` ranks first land on the same part in both images? Checked against part masks of toons.

    python -m benchmarks.check_compare

For every character and several pairs of images: the share of pairs whose top unit fires on the same part in both
(above half its peak, the part with most of it), beside the same share for every unit of the layer taken at random.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
from torch import Tensor

import innersight as ins
from innersight import toons
from innersight.compare import Comparison
from innersight.image import as_image
from innersight.model import Model
from innersight.toons import Toon
from innersight.trust import part_sums


def landing(model: Model, values: Tensor, toon: Toon) -> str:
    """Return the part on which a map (h, w) lies above half its peak."""
    sums = part_sums(model, (values - values.max() / 2).clamp(min=0), toon)
    return max(sums, key=lambda part: sums[part])


def pairs(first_seed: int, count: int) -> Iterator[tuple[Toon, Toon]]:
    """Yield `count` pairs of images of every character."""
    for name, i in itertools.product(toons.CLASSES, range(count)):
        yield toons.draw(name, first_seed + 2 * i), toons.draw(name, first_seed + 2 * i + 1)


def compared(model: Model, pair: tuple[Toon, Toon], layer: str) -> Comparison:
    """Run `compare` on two toons."""
    return ins.compare(model, [as_image(np.array(t.pixels), name=str(t.seed)) for t in pair], layer)


def check(model: Model, layer: str, *, first_seed: int = 70_000, count: int = 3) -> tuple[float, float, Counter[str]]:
    """Return the share of pairs whose top unit agrees, the mean share of all units, and the parts of the top units."""
    top, every, parts = [], [], Counter[str]()
    for pair in pairs(first_seed, count):
        result = compared(model, pair, layer)
        same = []
        for unit in result.order:
            first, second = (landing(model, result.maps[i, unit], toon) for i, toon in enumerate(pair))
            same.append(first == second)
            if unit == result.order[0]:
                parts[first if same[0] else f"{first} and {second}"] += 1
        top.append(same[0])
        every.append(float(np.mean(same)))
    return float(np.mean(top)), float(np.mean(every)), parts


if __name__ == "__main__":
    network = ins.load(sys.argv[1] if len(sys.argv) > 1 else "toon")
    for name in ("stem", "stage1", "stage2", "stage3", "stage4"):
        hit, chance, where = check(network, name)
        print(f"{name}: top unit on the same part {hit:.2f}, any unit {chance:.2f}; top units on {dict(where)}")
