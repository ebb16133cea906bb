"""How well a layer's concepts are the parts of characters: `ambra's hair`, on drawings that nothing was fitted to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from innersight import tap, toons
from innersight.inputs import ImageReader, network_input
from innersight.layers import layers
from innersight.model import Model

FIT_SEED, JUDGED_SEED, PER_CLASS = 10_000, 80_000, 20
LEAST = 6
"""Locations that a part fills in a drawing on average: 30 in five drawings."""
SHARES = (1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.25, *np.linspace(0.2, 0.02, 19), 0.015, 0.01, 0.0075, 0.005, 0.0025, 0.001)
"""Of the locations of the fitting drawings that exceed a threshold."""
NONE = -1
Read = Callable[[Float[Tensor, "n units"]], Float[Tensor, "n maps"]]


@dataclass(frozen=True, eq=False)
class Drawings:
    """Activations of one layer over drawings, location by location, and what each location shows.

    vectors : (n, units). shows : (n,) number of the character's part, class * parts + part; NONE where no part fills
    more than half of the location's cell, or where it is background.
    """

    vectors: Float[Tensor, "n units"]
    shows: Int[np.ndarray, " n"]


def drawings(model: Model, layer: str, seed: int, *, centred: bool = False) -> Drawings:
    """Run drawings through the network.

    seed : of the first drawing of each class. centred : cells lie around the middles of the receptive fields, and not
    as even parts of the image.
    """
    data = toons.Drawn(PER_CLASS, seed=seed)
    found, shows = [], []
    with tap.untouched(model), torch.no_grad():
        for loaded in ImageReader(data, model.input, model.labels).batches(50):
            maps = tap.capture(model, network_input(loaded, model), [layer]).activations[layer]
            found.append(maps.permute(0, 2, 3, 1).flatten(0, 2))
            grid = (maps.shape[2], maps.shape[3])
            shows += [_shown(data, one.entry.number, grid, shift=_shift(model, layer, centred)) for one in loaded]
    return Drawings(torch.cat(found), np.concatenate(shows))


def _shift(model: Model, layer: str, centred: bool) -> int:
    """Return by how many pixels the receptive field of a location lies right of its cell."""
    (one,) = (found for found in layers(model) if found.name == layer)
    field, side = one.receptive_field, one.grid[0]
    if field is None or not centred:
        return 0
    return round(field.middle[0] - ((side - 1) // 2 + 0.5) * field.stride[0])


def _shown(data: toons.Drawn, number: int, grid: tuple[int, int], *, shift: int) -> Int[np.ndarray, " cells"]:
    masks = np.stack([data[number]["masks"][part] for part in toons.PARTS])
    (h, w), (rows, columns) = masks.shape[1:], grid
    at_y, at_x = (np.clip(np.arange(side) + shift, 0, side - 1) for side in (h, w))
    masks = masks[:, at_y][:, :, at_x]
    shares = masks.reshape(len(masks), rows, h // rows, columns, w // columns).mean((2, 4)).reshape(len(masks), -1)
    part = shares.argmax(0)
    named = (shares.max(0) > 0.5) & (part != toons.PARTS.index("background"))
    return np.where(named, number // data.per_class * len(toons.PARTS) + part, NONE)


def parts(shows: Int[np.ndarray, " n"]) -> tuple[int, ...]:
    """Return the parts that fill `LEAST` locations of a drawing on average."""
    numbers, counts = np.unique(shows[shows != NONE], return_counts=True)
    return tuple(numbers[counts >= LEAST * PER_CLASS].tolist())


def overlaps(
    read: Read, fitting: Drawings, judged: Drawings, of: tuple[int, ...]
) -> tuple[Float[np.ndarray, " parts"], Int[np.ndarray, " parts"]]:
    """Return the intersection over union of each part with the map that fits it best, and the number of that map.

    Map and threshold are chosen on the fitting drawings; the overlap is that of the judged ones.
    """
    first, second = read(fitting.vectors).numpy(), read(judged.vectors).numpy()
    thresholds = np.quantile(first, 1 - np.array(SHARES), axis=0).T
    seen, found = (
        np.stack([_overlap(maps[:, i], one.shows, level, of) for i, level in enumerate(thresholds)])
        for maps, one in ((first, fitting), (second, judged))
    )
    best = seen.reshape(-1, len(of)).argmax(0)
    return found.reshape(-1, len(of))[best, np.arange(len(of))], best // len(SHARES)


def _overlap(
    values: Float[np.ndarray, " n"],
    shows: Int[np.ndarray, " n"],
    thresholds: Float[np.ndarray, " shares"],
    of: tuple[int, ...],
) -> Float[np.ndarray, "shares parts"]:
    """Return the overlap of what exceeds each threshold, which rise, with each part."""
    exceeded = np.searchsorted(thresholds, values, side="left")
    both = np.stack([_above(exceeded[shows == part], len(thresholds)) for part in of], 1)
    area = np.array([(shows == part).sum() for part in of])
    return both / (_above(exceeded, len(thresholds))[:, None] + area - both)


def _above(exceeded: Int[np.ndarray, " n"], thresholds: int) -> Int[np.ndarray, " shares"]:
    return np.bincount(exceeded, minlength=thresholds + 1)[::-1].cumsum()[::-1][1:]


def some(units: int, count: int, seed: int) -> Bool[Tensor, " units"]:
    """Return a random choice of units."""
    chosen = torch.zeros(units, dtype=torch.bool)
    chosen[torch.randperm(units, generator=torch.Generator().manual_seed(seed))[:count]] = True
    return chosen
