"""`dissect`: which part of the images each unit answers to, by masks."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight import tap
from innersight.call import public
from innersight.dissection import masked, shuffles
from innersight.dissection.levels import Levels
from innersight.dissection.overlap import COARSE, RESAMPLES, Overlap, coarse, draws, share
from innersight.dissection.result import Dissected, Dissection
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.inputs import Given, ImageEntry, ImageReader, Loaded, batched, network_input, repeatable, threads
from innersight.layer import Layer
from innersight.layers import check_layers, default_layers
from innersight.model import Model
from innersight.scan.engine import Watch

TOP = 0.005
LEAST = 0.04
LEVEL = 0.05
GRID = 112


@public()
def dissect(
    model: Model,
    images: Any,
    masks: masked.Asked = None,
    layers: Sequence[str] | None = None,
    *,
    top: float = TOP,
    least: float = LEAST,
    level: float = LEVEL,
    grid: int = GRID,
    batch: int = 32,
    workers: int | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Dissection:
    """Return the overlap of every unit of `layers` with every part that the masks know, and the units' labels.

    Network dissection (Bau et al. 2017, arXiv:1704.05796): a unit answers where its map, brought bilinearly to the
    masks, is above the level that `top` of all places of its maps exceed; its overlap with a part is the intersection
    over union, summed over all images. Its label is the part of highest overlap among those above `least` and with a
    corrected p-value below `level`; see `innersight.dissection.shuffles`.

    images : whatever holds images, see `innersight.inputs.entries`.
    masks : a folder, see `innersight.masks.read_masks`; a function that takes an image's
    path (`#NUMBER` in a data set) and returns {part: (H, W) truths}, or None; by default the `masks` of a data set's
    entries. Masks have the image's own size and go through its crop. layers : the default layers when None.
    grid : overlaps are counted at the network's input size, scaled down to at most so many places a side. workers :
    threads that decode; one for each core, up to 4, when None. seed : of the shuffles.

    Two passes over the images; memory does not grow with their number, but for the names of masks in a folder. A
    image that cannot be read or has no mask is skipped and listed. Raises InnersightError for numbers out of range,
    unknown layers, masks that are missing, of other size, empty or of unknown format; ImageError when no image
    could be read.
    """
    _check(top, least, level, grid, batch)
    described = check_layers(model, tuple(layers) if layers else default_layers(model))
    flat = [layer.name for layer in described if layer.grid == (1, 1)]
    if flat:
        raise InnersightError(f"{flat[0]} has no places (grid 1x1), so no part can be seen in it; choose another")
    given_images = repeatable(images)
    work = _Work(model, given_images, masks, masked.grid_of(model.input, grid), batch, threads(workers), watch)
    with tap.untouched(model), torch.no_grad():
        levels = work.survey(described)
        work.check()
        heights = {name: found.above(top) for name, found in levels.items()}
        overlaps, areas = work.measure(heights)
    parts = tuple(work.parts)
    # What is tested must not depend on which masks go with which images: the sizes of both do not.
    tested = [_ceiling(overlap, areas) > least for overlap in overlaps.values()]
    p = shuffles.corrected([overlap.sample for overlap in overlaps.values()], areas.sample, tested, seed=seed)
    grids = {layer.name: layer.grid for layer in described}
    found = {
        name: _dissected(overlap, areas, grids[name], own)
        for (name, overlap), own in zip(overlaps.items(), p, strict=True)
    }
    return Dissection(
        model=model, parts=parts, layers=found, area=areas.share(), records=work.records, images=work.images,
        top=top, least=least, level=level, grid=work.grid, sampled=len(areas.sample), source=work.source,
        skipped=tuple(map(str, work.errors)), notes=(*work.notes, *_notes(work, areas, levels, top, least)),
    )  # fmt: skip


def _check(top: float, least: float, level: float, grid: int, batch: int) -> None:
    if not 0 < top < 1:
        raise InnersightError(f"top={top:g} is the share of places at which a unit answers: give 0 < top < 1")
    if not 0 <= least < 1 or not 0 < level <= 1:
        raise InnersightError(f"least is {least:g} and level is {level:g}: give 0 <= least < 1 and 0 < level <= 1")
    if grid < COARSE or batch < 1:
        raise InnersightError(f"grid is {grid} and batch is {batch}: give at least {COARSE} and 1")


class Areas:
    """How much of the images the parts cover. total : (parts,) places. drawn : (RESAMPLES, parts).

    sample : (images, parts, COARSE, COARSE) uint8, of the images drawn for the test.
    """

    def __init__(self, parts: int, sampled: int) -> None:
        self.total, self.places = torch.zeros(parts, dtype=torch.int64), 0
        self.drawn = torch.zeros(RESAMPLES, parts)
        self.sample = torch.zeros(sampled, parts, COARSE, COARSE, dtype=torch.uint8)

    def add(self, masks: Tensor, drawn: Tensor, rows: Sequence[int | None], grid: tuple[int, int]) -> None:
        """Take in the masks (B, parts, places) of a batch."""
        area = masks.sum(2)
        self.total += area.sum(0).long()
        self.places += len(masks) * masks.shape[2]
        self.drawn += drawn @ area
        for mask, row in zip(masks, rows, strict=True):
            if row is not None:
                self.sample[row] = coarse(mask.view(-1, *grid))

    def share(self) -> Tensor:
        """Return how much of all places each part covers, (parts,) float32, 0 to 1."""
        return (self.total / max(1, self.places)).float()


class _Work:
    """Both passes over the images, and what they have in common."""

    def __init__(
        self, model: Model, images: Given, masks: masked.Asked, grid: tuple[int, int], batch: int, threads: int,
        watch: Watch | None,
    ) -> None:  # fmt: skip
        self.model, self.given, self.grid, self.batch, self.threads = model, images, grid, batch, threads
        self.source = masked.source(masks, images)
        self.watch = watch
        self.parts = list(self.source.parts)
        self.used: dict[str, str] = {}
        self.errors: list[ImageError] = []
        self.notes: tuple[str, ...] = ()
        self.anything = False
        self.images = 0
        self.records: dict[int, ImageEntry] = {}

    def survey(self, layers: Sequence[Layer]) -> dict[str, Levels]:
        """Return the distribution of every unit; learns which parts and how many images there are."""
        found = {layer.name: Levels(layer.units, self.model.device) for layer in layers}
        for loaded in self._batches("levels"):
            for one in loaded:
                self._learn(one)
            self.images += len(loaded)
            tap.read(self.model, self._input(loaded), {name: levels.add for name, levels in found.items()})
        return found

    def measure(self, heights: Mapping[str, Tensor]) -> tuple[dict[str, Overlap], Areas]:
        """Return the overlaps above the levels, and the areas of the parts."""
        chosen = np.random.default_rng(0).permutation(self.images)[: shuffles.SAMPLE]
        place = {int(image): row for row, image in enumerate(np.sort(chosen))}
        device = self.model.device
        found = {
            name: Overlap(height.to(device), len(self.parts), self.grid, len(place)) for name, height in heights.items()
        }
        areas, before = Areas(len(self.parts), len(place)), 0
        for loaded in self._batches("overlaps"):
            rows = [place.get(before + i) for i in range(len(loaded))]
            before += len(loaded)
            masks = masked.stacked(loaded, self.parts, self.grid).float()
            own = [one.entry for one in loaded]
            drawn = draws(own)
            areas.add(masks, drawn, rows, self.grid)
            there: dict[str, Any] = {"masks": masks.to(device), "entries": own, "drawn": drawn.to(device), "rows": rows}
            readers = {name: partial(overlap.add, **there) for name, overlap in found.items()}
            tap.read(self.model, self._input(loaded), readers)
            self._keep(own, found)
        if before != self.images:
            raise InnersightError(
                f"{self.images} images were there at first and {before} afterwards; leave them be until it is done"
            )
        return found, areas

    def check(self) -> None:
        """Raise an error where nothing was read, no image has a mask, or no mask shows anything."""
        if not self.images:
            unmasked = sum(isinstance(error, masked.NoMaskError) for error in self.errors)
            if not unmasked:
                raise self.errors[0] if self.errors else ImageError("no images given")
            files = self.source.files
            named = f"; masks are named like {min(files.ends)!r}" if files else ""
            raise InnersightError(f"{self.errors[0]}; none of {unmasked} images has one{named}")
        if not self.anything:
            raise InnersightError(
                f"the masks of all {self.images} images are empty where the network looks; where a part is they "
                "must not be 0, and of an image that is not square the network may see the middle only"
            )

    def _batches(self, title: str) -> Iterator[list[masked.Masked]]:
        reading = ImageReader(self.given, self.model.input, workers=self.threads, required=False)
        reader = partial(masked.read, spec=self.model.input, masks=self.source, grid=self.grid)
        surveying, done = title == "levels", 0
        for loaded in batched(reading.each(reader), self.batch):
            yield loaded
            done += len(loaded)
            if self.watch is not None:
                self.watch(done, 0 if surveying else self.images, f"{title}, {printable(loaded[-1].entry.name)}")
        if surveying:
            self.errors, self.notes = reading.errors, reading.notes

    def _input(self, loaded: Sequence[masked.Masked]) -> Tensor:
        return network_input([Loaded(one.entry, one.values, None) for one in loaded], self.model)

    def _learn(self, one: masked.Masked) -> None:
        self.parts += [part for part in one.parts if part not in self.parts]
        self.anything = self.anything or any(mask.any() for mask in one.parts.values())
        end = None if self.source.files is None else self.source.files.end(one.entry.name)
        if end is not None and self.used.setdefault(end, one.entry.name) != one.entry.name:
            raise InnersightError(
                f"{printable(self.used[end])} and {printable(one.entry.name)} have one mask, {end!r}; put masks in "
                "subfolders named like those of the images"
            )

    def _keep(self, own: Sequence[ImageEntry], found: Mapping[str, Overlap]) -> None:
        shown = set(chain.from_iterable(overlap.shown.flatten().tolist() for overlap in found.values()))
        self.records |= {entry.number: entry for entry in own}
        self.records = {number: entry for number, entry in self.records.items() if number in shown}


def _ceiling(overlap: Overlap, areas: Areas) -> Tensor:
    """Return the highest overlap that every unit and part could have, given their sizes."""
    on, area = overlap.on.cpu(), areas.total
    return torch.minimum(on[:, None], area) / torch.maximum(on[:, None], area).clamp(min=1)


def _dissected(overlap: Overlap, areas: Areas, grid: tuple[int, int], p: Tensor) -> Dissected:
    both, on, area = overlap.both.cpu(), overlap.on.cpu(), areas.total
    drawn = share(overlap.both_drawn.cpu(), overlap.on_drawn.cpu(), areas.drawn)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975]), dim=0)
    return Dissected(
        grid=grid, level=overlap.level.cpu(), share=(overlap.above / max(1, overlap.places)).float().cpu(),
        area=(on / max(1, areas.places)).float(), overlap=share(both, on, area), low=low, high=high, p=p,
        shown=overlap.shown.cpu(),
    )  # fmt: skip


def _notes(work: _Work, areas: Areas, levels: Mapping[str, Levels], top: float, least: float) -> Iterator[str]:
    own = dict(zip(work.parts, areas.share().tolist(), strict=True))
    absent = [part for part, share in own.items() if share == 0]
    if absent:
        yield f"{_listed(absent)}: on none of the {work.images} images, so no unit can be labelled so"
    large = [part for part, share in own.items() if share > 0 and top / share <= least]
    if large:
        wanted = max(own[part] for part in large) * least
        yield (
            f"{_listed(large)}: so large that a unit which answers at {top:.2%} of the places overlaps at most "
            f"{max(top / own[part] for part in large):.3f}, and a label needs {least:g}; "
            f"from top={wanted:.2g} on it can be had"
        )
    small = [part for part, share in own.items() if 0 < share / top <= least]
    if small:
        yield f"{_listed(small)}: smaller than {least:g} of what a unit answers to, so none can be labelled so"
    spare = work.source.files.ends - work.used.keys() if work.source.files else ()
    if spare:
        yield f"{len(spare):,} masks are for none of the images, such as {min(spare)!r}"
    for name, found in levels.items():
        if found.left_out:
            yield f"{name}: {found.left_out:,} maps hold NaN or an infinity; they are left out"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(map(printable, names[:6])) + more
