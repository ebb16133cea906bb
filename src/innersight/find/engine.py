"""`find`: rank units by how well they respond to a region, in one pass over the images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight.activations import BATCH, compute
from innersight.call import public
from innersight.errors import InnersightError, printable
from innersight.find.colours import own_colours
from innersight.find.regions import WHOLE, Query, coverage, read_queries, several
from innersight.find.result import SHOWN, UnitRanking
from innersight.find.score import STRONGEST, Strongest, at, fits, largest_share
from innersight.image import Image, stack
from innersight.inputs import ImageReader, network_input
from innersight.layers import check_layers, default_layers
from innersight.model import Model

if TYPE_CHECKING:
    from innersight.find.regions import Asked

AT_ONCE = 16
ALL = 0.99


@public()
def find(
    model: Model,
    like: "Asked | Sequence[Asked]",
    *,
    but_not: "Asked | str | Path | Image | Sequence[Asked | str | Path | Image]" = (),
    layers: Sequence[str] | None = None,
    images: Any = (),
    colours: bool = True,
) -> UnitRanking:
    """Rank units by how well they respond to a region of an image, and to nothing else.

    Parameters
    ----------
    model
        The network.
    like
        One or several regions that show the object: `"IMAGE@x0,y0,x1,y1"`, or (image, (x0, y0, x1, y1)); boxes drawn
        tightly around it, as fractions of width and height, 0 to 1. An image may be given several times.
    but_not
        The same for what the object is not; an image without a box stands for all of it.
    layers
        Names of layers, ranked together; None for the default layers.
    images
        Further images that do not show the object, see `innersight.inputs.entries`. Files that are also in `like` or
        `but_not` are left out.
    colours
        Give more weight to the colours found in a box more than elsewhere in its image. Turn off where the object has
        the colours of its surroundings.

    Returns
    -------
    UnitRanking
        All units, best first.

    Raises
    ------
    InnersightError
        For text that is not a region, a box outside the image or outside what the network sees of it, no box at all, a
        box around the whole image, and layers without a grid.
    ImageError
        For an image of `like` or `but_not` that cannot be read.

    Notes
    -----
    The score is defined in `innersight.find.DEFINITION`: precision of the strongest locations, as in network dissection
    (Bau et al. 2017, arXiv:1704.05796) without its fixed threshold, and the fit of projections to the sides of a box
    (Tian et al. 2021, arXiv:2012.02310).

    Examples
    --------
    >>> import innersight as ins
    >>> import torch
    >>> image = torch.rand(3, 80, 80)
    >>> found = ins.find(ins.load("small:8"), (image, (0.1, 0.1, 0.5, 0.5)), layers=["stage1"])
    >>> len(found.order)
    8

    """
    queries = read_queries(model.input, several(like), several(but_not))
    names = tuple(dict.fromkeys(layers)) if layers else default_layers(model)
    described = check_layers(model, names)
    flat = [layer.name for layer in described if layer.grid == (1, 1)]
    if flat:
        raise InnersightError(f"{flat[0]} has a grid of 1x1, so no region can be found in it; choose another layer")
    ranking = _Ranking(model, queries, max((layer.grid for layer in described), key=_size), colours)
    for start in range(0, len(queries), BATCH):
        x = stack([query.image for query in queries[start : start + BATCH]], model.input)
        ranking.add(compute(model, x, names), queries[start : start + BATCH])
    context: list[str] = []
    shown = list(queries[:SHOWN])
    reading = ImageReader(images, model.input, required=False)
    asked = {os.path.realpath(query.image.path) for query in queries if query.image.path is not None}
    for loaded in reading.batches(BATCH):
        others = [one for one in loaded if one.entry.path is None or os.path.realpath(one.entry.path) not in asked]
        for one in loaded:
            if one not in others:
                reading.skip(one.entry, "also given as a region, so not used as an image without it")
        if not others:
            continue
        ranking.add(compute(model, network_input(others, model), names))
        entries = [one.entry for one in others]
        context += [printable(entry.name) for entry in entries]
        shown += [Query(e.load(model.input), but_not=(WHOLE,)) for e in entries[: SHOWN - len(shown)]]
    found = replace(ranking.found(), shown=tuple(shown), context=tuple(context))
    return replace(found, skipped=reading.skipped, notes=reading.notes)


def rank(model: Model, queries: tuple[Query, ...], maps: dict[str, Tensor], *, colours: bool = True) -> UnitRanking:
    """Score maps already computed, per layer (images, units, h, w); the images with `like` come first."""
    grids = [(values.shape[2], values.shape[3]) for values in maps.values()]
    ranking = _Ranking(model, queries, max(grids, key=_size), colours)
    ranking.add(maps, queries)
    return ranking.found()


def _size(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]


class _Ranking:
    """What is kept of every unit, image by image, those that show the region first.

    finest : the grid to which the maps of all layers are resized. colours : see `find`.
    """

    def __init__(self, model: Model, queries: tuple[Query, ...], finest: tuple[int, int], colours: bool) -> None:
        self._model, self._queries, self._finest, self._colours = model, queries, finest, colours
        self._masks = {query: self._asked(query) for query in queries}
        parts = [self._masks[query] for query in queries if query.like]
        self._shown = len(parts)
        inside, weight, counts = (torch.stack(part) for part in zip(*parts, strict=True))
        self._area = float(inside.mean())
        self._wanted = STRONGEST * float(at(counts, finest).sum())
        self._possible = largest_share(at(weight, finest), self._wanted)
        self._done = 0
        self._strongest: dict[str, Strongest] = {}
        self._fit: dict[str, list[Tensor]] = {}
        self._broken: dict[str, int] = {}
        self._high: dict[str, Tensor] = {}
        self._low: dict[str, Tensor] = {}
        self._maps: dict[str, list[Tensor]] = {}

    def add(self, maps: dict[str, Tensor], queries: Sequence[Query] = ()) -> None:
        """Add the maps (B, units, h, w) of the next images, by layer. queries : of images without the region, none."""
        count = len(next(iter(maps.values())))
        if queries:
            inside, weight, counts = (
                torch.stack(part) for part in zip(*(self._masks[query] for query in queries), strict=True)
            )
        else:
            inside = weight = torch.zeros(count, self._model.input.height, self._model.input.width)
            counts = torch.ones_like(inside)
        region, weights = (at(part, self._finest).flatten() for part in (weight, counts))
        shown, drawn = (max(0, least - self._done) for least in (self._shown, SHOWN))
        for layer, values in maps.items():
            kept = self._strongest.setdefault(layer, Strongest(self._wanted))
            # A few units at a time: many units of a coarse layer are large at the finest grid.
            wide = [
                F.interpolate(part, size=self._finest, mode="bilinear").transpose(0, 1).flatten(1)
                for part in torch.split(values, AT_ONCE, dim=1)
            ]
            kept.add(torch.cat(wide), weights, region)
            if shown:
                covered = at(inside[:shown], (values.shape[2], values.shape[3]))
                self._fit.setdefault(layer, []).append(fits(values[:shown], covered))
            if drawn:
                self._maps.setdefault(layer, []).append(values[:drawn])
            high, low = values.amax((0, 2, 3)), values.amin((0, 2, 3))
            self._high[layer] = torch.maximum(high, self._high.get(layer, high))
            self._low[layer] = torch.minimum(low, self._low.get(layer, low))
            broken = int((~values.isfinite()).flatten(1).any(1).sum())
            self._broken[layer] = self._broken.get(layer, 0) + broken
        self._done += count

    def _asked(self, query: Query) -> tuple[Tensor, Tensor, Tensor]:
        """Return how much of each pixel lies in the region, is likely the object, and counts at all (H, W), 0 to 1."""
        spec = self._model.input
        inside, counts = coverage(query, spec)
        weighed = self._colours and bool(query.like)
        return inside, own_colours(query.image.seen(spec), inside) if weighed else inside, counts

    def found(self) -> UnitRanking:
        """Return the ranking of all units of all layers. Raises InnersightError for maps that are not finite."""
        if self._area > ALL and self._done == self._shown:
            raise InnersightError(
                "the region is all of every image, so there is nothing to compare it with; "
                "draw the box around the object, or give images without it"
            )
        broken = [f"{layer} on {number} of {self._done}" for layer, number in self._broken.items() if number]
        if broken:
            raise InnersightError(f"the maps are not finite: {', '.join(broken)} images")
        share = {layer: kept.share(self._possible) for layer, kept in self._strongest.items()}
        fit = {layer: torch.cat(parts).mean(0) for layer, parts in self._fit.items()}
        varies = {layer: self._high[layer] > self._low[layer] for layer in share}
        score = {layer: (share[layer] ** 2 * fit[layer]) ** (1 / 3) * varies[layer] for layer in share}
        addresses = [(layer, unit) for layer in score for unit in range(len(score[layer]))]
        best = torch.cat(list(score.values())).argsort(descending=True, stable=True).tolist()
        maps = {layer: torch.cat(parts) for layer, parts in self._maps.items()}
        order = tuple(addresses[i] for i in best)
        return UnitRanking(
            self._model, self._queries, maps, order, score, share, fit, self._area, self._queries[:SHOWN]
        )
