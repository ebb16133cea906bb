"""Does the unit that `find` ranks first answer to the part asked for? Checked against part masks of toons.

    python -m benchmarks.check_find            # with 1, 3, 5 and 10 images a query
    python -m benchmarks.check_find 5          # with five: 2.5 minutes

For every character and part: the box round the part in a few images is the query; on other images of the character
each unit's map, above its own quantile, is held against the true mask of the part. The share of queries whose top unit
has a higher IoU than 95% of all units ranked.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import innersight as ins
from innersight import toons
from innersight.activations import compute
from innersight.find import UnitRanking, find
from innersight.image import Image, as_image, stack
from innersight.model import Model
from innersight.toons import Toon

PARTS = ("hair", "eyes", "clothes", "accessory")
QUANTILES = (0.95, 0.97, 0.99)
BEATS = 0.95
SEEDS = {
    "the score was chosen on these": (90_000, 110_000, 130_000, 150_000),
    "others": (200_000, 220_000, 240_000, 260_000),
}
"""Of the first image asked about; those from 5,000 further on are held against the masks."""
SEEN = 0.005
"""Share of an image that a part must have to be asked for."""


@dataclass(frozen=True)
class Outcome:
    """One query. beats : share of all units whose IoU is below that of the top unit; iou of the top unit, and best."""

    name: str
    part: str
    address: str
    iou: float
    best: float
    beats: float


def box_of(toon: Toon, part: str) -> tuple[float, float, float, float]:
    """Return the tight box round a part, as fractions of the image."""
    rows, columns = np.nonzero(toon.mask(part))
    return tuple(float(edge) / toon.size for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))  # type: ignore[return-value]


def drawn(name: str, part: str, first_seed: int, count: int) -> list[Toon]:
    """Return the first `count` toons of a character, from a seed on, that show a part."""
    found: list[Toon] = []
    for seed in range(first_seed, first_seed + 20 * count):
        toon = toons.draw(name, seed)
        if toon.mask(part).mean() >= SEEN:
            found.append(toon)
        if len(found) == count:
            break
    return found


def image_of(toon: Toon) -> Image:
    """Return a toon as an image."""
    return as_image(np.array(toon.pixels), name=f"{toon.name} {toon.seed}")


def overlaps(model: Model, layers: Sequence[str], part: str, others: Sequence[Toon]) -> dict[str, Tensor]:
    """Return the IoU (units,) of every unit's map with the part, at the best of `QUANTILES` of its own values."""
    maps = compute(model, stack([image_of(toon) for toon in others], model.input), layers)
    masks = torch.from_numpy(np.stack([toon.mask(part) for toon in others])).float()
    # At half the images' resolution, that of the finest layer: pixels in part count in part.
    truth = F.avg_pool2d(masks, 2)
    found = {}
    for layer, values in maps.items():
        wide = F.interpolate(values, size=truth.shape[1:], mode="bilinear").transpose(0, 1).flatten(1)
        at_best = torch.zeros(len(wide))
        for quantile in QUANTILES:
            strongest = wide.topk(round((1 - quantile) * wide.shape[1]), 1).indices
            both = truth.flatten()[strongest].sum(1)
            at_best = at_best.maximum(both / (strongest.shape[1] + truth.sum() - both))
        found[layer] = at_best
    return found


def asked(model: Model, name: str, part: str, *, first_seed: int, shown: int) -> UnitRanking:
    """Run `find` with the boxes round a part in `shown` images; the face within them is said not to be meant."""
    like, but_not = [], []
    for toon in drawn(name, part, first_seed, shown):
        image = image_of(toon)
        like.append((image, box_of(toon, part)))
        if part != "eyes":
            but_not += [(image, box_of(toon, face)) for face in ("eyes", "mouth") if toon.mask(face).any()]
    return find(model, like, but_not=but_not)


def check(
    model: Model, queries: Sequence[tuple[str, str]], *, first_seed: int = 90_000, shown: int = 5, others: int = 10
) -> Iterator[Outcome]:
    """Yield the outcome of each query (character, part), measured on `others` other images."""
    for name, part in queries:
        result = asked(model, name, part, first_seed=first_seed, shown=shown)
        truth = overlaps(model, list(result.maps), part, drawn(name, part, first_seed + 5_000, others))
        every = torch.cat(list(truth.values()))
        layer, unit = result.order[0]
        own = float(truth[layer][unit])
        beats = float((every < own).float().mean())
        yield Outcome(name, part, f"{layer}:{unit}", own, float(every.max()), beats)


if __name__ == "__main__":
    network = ins.load("toon")
    every = [(name, part) for name in toons.CLASSES for part in PARTS]
    for count in map(int, sys.argv[1:] or ["1", "3", "5", "10"]):
        for kind, seeds in SEEDS.items():
            outcomes = [one for seed in seeds for one in check(network, every, first_seed=seed, shown=count)]
            print(f"{count} images a query, {kind}")
            for outcome in outcomes:
                if outcome.beats < BEATS:
                    print("  missed:", outcome)
            for part in (*PARTS, ""):
                own = [outcome for outcome in outcomes if part in ("", outcome.part)]
                won = sum(outcome.beats >= BEATS for outcome in own)
                median = np.median([outcome.beats for outcome in own])
                print(f"  {part or 'all'}: {won} of {len(own)}, median {median:.3f}", flush=True)
