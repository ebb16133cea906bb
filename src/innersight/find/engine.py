"""Rank units by how well they answer to a region: one pass over the images, keeping only what ranks."""

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
from innersight.find.result import SHOWN, Finding
from innersight.find.score import STRONGEST, Strongest, at, fits, most
from innersight.image import Image, stack
from innersight.inputs import ImageReader, is_empty, network_input
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
) -> Finding:
    """Rank the units of `layers` by how well they answer to a region; without `layers` the default layers.

    like : one or several of `IMAGE@x0,y0,x1,y1`, or (image, (x0, y0, x1, y1)): a box drawn tightly round the thing,
    as fractions of width and height, 0 to 1. An image may come several times. but_not : the same, what the thing is
    not; an image without a box is meant as a whole. images : more that do not show the thing at all, as many as
    wanted, see `innersight.inputs.entries`; files that are asked about are left out. colours : whether the colours of a
    box that are found in it more than elsewhere in its image count for more; False where the thing has the colours of
    what surrounds it.

    The score is defined in `innersight.find.DEFINITION`: precision of the strongest places, as in network dissection
    (Bau et al. 2017, arXiv:1704.05796) without its fixed threshold, and the fit of projections to the sides of a box
    (Tian et al. 2021, arXiv:2012.02310). Raises InnersightError for text that is no box, a box outside the image or
    outside what the network sees of it, no box at all, boxes round all there is, and layers without places;
    ImageError for an image of `like` or `but_not` that cannot be read.
    """
    queries = read_queries(model.input, several(like), several(but_not))
    names = tuple(dict.fromkeys(layers)) if layers else default_layers(model)
    described = check_layers(model, names)
    flat = [layer.name for layer in described if layer.grid == (1, 1)]
    if flat:
        raise InnersightError(f"{flat[0]} has no places (grid 1x1), so no region can be found in it; choose another")
    ranking = _Ranking(model, queries, max((layer.grid for layer in described), key=_size), colours)
    for start in range(0, len(queries), BATCH):
        x = stack([query.image for query in queries[start : start + BATCH]], model.input)
        ranking.add(compute(model, x, names), queries[start : start + BATCH])
    context: list[str] = []
    shown = list(queries[:SHOWN])
    reading = ImageReader(() if is_empty(images) else images, model.input, required=False)
    if not is_empty(images):
        asked = {os.path.realpath(query.image.path) for query in queries if query.image.path is not None}
        for loaded in reading.batches(BATCH):
            others = [one for one in loaded if one.entry.path is None or os.path.realpath(one.entry.path) not in asked]
            for one in loaded:
                if one not in others:
                    reading.skip(one.entry, "asked about already, so it is not taken for one without it")
            if not others:
                continue
            ranking.add(compute(model, network_input(others, model), names))
            entries = [one.entry for one in others]
            context += [printable(entry.name) for entry in entries]
            shown += [Query(e.load(model.input), but_not=(WHOLE,)) for e in entries[: SHOWN - len(shown)]]
    found = replace(ranking.found(), shown=tuple(shown), context=tuple(context))
    return replace(found, skipped=reading.skipped, notes=reading.notes)


def rank(model: Model, queries: tuple[Query, ...], maps: dict[str, Tensor], *, colours: bool = True) -> Finding:
    """Score maps already computed, per layer (images, units, h, w); the images with `like` come first."""
    grids = [(values.shape[2], values.shape[3]) for values in maps.values()]
    ranking = _Ranking(model, queries, max(grids, key=_size), colours)
    ranking.add(maps, queries)
    return ranking.found()


def _size(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]


class _Ranking:
    """What is kept of every unit while the images go by, those that show the region first.

    finest : the grid to which the maps of all layers are brought. colours : see `find`.
    """

    def __init__(self, model: Model, queries: tuple[Query, ...], finest: tuple[int, int], colours: bool) -> None:
        self._model, self._queries, self._finest, self._colours = model, queries, finest, colours
        self._masks = {query: self._asked(query) for query in queries}
        parts = [self._masks[query] for query in queries if query.like]
        self._shown = len(parts)
        inside, thing, counts = (torch.stack(part) for part in zip(*parts, strict=True))
        self._area = float(inside.mean())
        self._wanted = STRONGEST * float(at(counts, finest).sum())
        self._possible = most(at(thing, finest), self._wanted)
        self._done = 0
        self._strongest: dict[str, Strongest] = {}
        self._fit: dict[str, list[Tensor]] = {}
        self._broken: dict[str, int] = {}
        self._high: dict[str, Tensor] = {}
        self._low: dict[str, Tensor] = {}
        self._maps: dict[str, list[Tensor]] = {}

    def add(self, maps: dict[str, Tensor], queries: Sequence[Query] = ()) -> None:
        """Take in the maps (B, units, h, w) of the next images, by layer; without queries of images without it."""
        count = len(next(iter(maps.values())))
        if queries:
            inside, thing, counts = (
                torch.stack(part) for part in zip(*(self._masks[query] for query in queries), strict=True)
            )
        else:
            inside = thing = torch.zeros(count, self._model.input.height, self._model.input.width)
            counts = torch.ones_like(inside)
        region, places = (at(part, self._finest).flatten() for part in (thing, counts))
        shown, drawn = (max(0, least - self._done) for least in (self._shown, SHOWN))
        for layer, values in maps.items():
            kept = self._strongest.setdefault(layer, Strongest(self._wanted))
            # A few units at a time: many units of a coarse layer are large at the finest grid.
            wide = [
                F.interpolate(part, size=self._finest, mode="bilinear").transpose(0, 1).flatten(1)
                for part in torch.split(values, AT_ONCE, dim=1)
            ]
            kept.add(torch.cat(wide), places, region)
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
        """Return of each pixel how much lies in the region, is likely the thing, and counts at all (H, W), 0 to 1."""
        spec = self._model.input
        inside, counts = coverage(query, spec)
        weighed = self._colours and bool(query.like)
        return inside, own_colours(query.image.seen(spec), inside) if weighed else inside, counts

    def found(self) -> Finding:
        """Return the ranking of all units of all layers. Raises InnersightError for maps that are not finite."""
        if self._area > ALL and self._done == self._shown:
            raise InnersightError(
                "the region is all of every image, so there is nothing that it could be told from; "
                "draw the box round the thing, or give images without it"
            )
        broken = [f"{layer} on {number} of {self._done}" for layer, number in self._broken.items() if number]
        if broken:
            raise InnersightError(f"maps that are not finite, of {', '.join(broken)} images: nothing is found by them")
        share = {layer: kept.share(self._possible) for layer, kept in self._strongest.items()}
        fit = {layer: torch.cat(parts).mean(0) for layer, parts in self._fit.items()}
        answers = {layer: self._high[layer] > self._low[layer] for layer in share}
        score = {layer: (share[layer] ** 2 * fit[layer]) ** (1 / 3) * answers[layer] for layer in share}
        addresses = [(layer, unit) for layer in score for unit in range(len(score[layer]))]
        best = torch.cat(list(score.values())).argsort(descending=True, stable=True).tolist()
        maps = {layer: torch.cat(parts) for layer, parts in self._maps.items()}
        order = tuple(addresses[i] for i in best)
        return Finding(self._model, self._queries, maps, order, score, share, fit, self._area, self._queries[:SHOWN])
