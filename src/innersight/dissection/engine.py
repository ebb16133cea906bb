"""`dissect`: which part of the images each unit responds to, by masks."""

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
from innersight.dissection.overlap import COARSE, RESAMPLES, Overlap, coarse, draws, share
from innersight.dissection.result import Dissection, LayerDissection
from innersight.dissection.thresholds import Thresholds
from innersight.errors import InnersightError, printable
from innersight.image import ImageError
from innersight.inputs import Given, ImageEntry, ImageReader, Loaded, batched, network_input, repeatable, threads
from innersight.layer import Layer
from innersight.layers import check_layers, default_layers
from innersight.model import Model

QUANTILE = 0.005
MIN_OVERLAP = 0.04
ALPHA = 0.05
GRID = 112


@public()
def dissect(
    model: Model,
    images: Any,
    masks: masked.MasksGiven = None,
    layers: Sequence[str] | None = None,
    *,
    quantile: float = QUANTILE,
    min_overlap: float = MIN_OVERLAP,
    alpha: float = ALPHA,
    grid: int = GRID,
    batch: int = 32,
    workers: int | None = None,
    seed: int = 0,
    progress: masked.Progress | None = None,
) -> Dissection:
    """Measure the overlap of every unit's responses with every part that masks mark, and label the units.

    Parameters
    ----------
    model
        The network.
    images
        Whatever holds images, see `innersight.inputs.entries`; one that cannot be read or has no mask is skipped and
        listed.
    masks
        Folder of masks: images of part numbers with parts.json, or PART/NAME.png.

        See `innersight.masks.read_masks`. Or a function from an image's path (`#NUMBER` in a data set) to {part: (H, W)
        booleans}, or None; by default the `masks` of a data set's entries. Masks have the image's size and are cropped
        like it.
    layers
        Layers to dissect; by default those of `innersight.layers.default_layers`.
    quantile
        Share of the locations of a unit's maps at which it responds, between 0 and 1.
    min_overlap
        Intersection over union that a label needs, 0 to 1.
    alpha
        Corrected p-value below which a label is significant.
    grid
        Overlaps are counted at the network's input size, scaled down to at most so many pixels a side.
    batch
        Images in one forward pass.
    workers
        Threads that decode images; by default one for each core, up to 4.
    seed
        Of the shuffles.
    progress
        Called with the number done, the total (0 while unknown), and what is being done.

    Returns
    -------
    Dissection
        Overlaps with intervals and p-values, and labels.

    Raises
    ------
    InnersightError
        For numbers out of range, unknown layers, and masks that are missing, of another size, empty or of an unknown
        format.
    ImageError
        When no image could be read.

    Notes
    -----
    Network dissection (Bau et al. 2017, arXiv:1704.05796): a unit responds where its map, interpolated to the masks, is
    above the threshold that `quantile` of all locations of its maps exceed. Its overlap with a part is the intersection
    over union, summed over all images. Its label is the part of highest overlap among those above `min_overlap` and
    with a p-value below `alpha`; see `innersight.dissection.shuffles`. The images are read twice; memory does not grow
    with their number, except for the names of masks in a folder.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> found = ins.dissect(ins.load("toon"), Drawn(per_class=1), layers=["stage1"], quantile=0.02)
    >>> found.parts[:2], found.layers["stage1"].overlap.shape
    (('background', 'skin'), torch.Size([32, 7]))

    """
    _check(quantile, min_overlap, alpha, grid, batch)
    described = check_layers(model, tuple(layers) if layers else default_layers(model))
    flat = [layer.name for layer in described if layer.grid == (1, 1)]
    if flat:
        raise InnersightError(f"{flat[0]} has no grid (1x1), so no part can be located in it; choose another layer")
    given_images = repeatable(images)
    work = _Work(model, given_images, masks, masked.grid_of(model.input, grid), batch, threads(workers), progress)
    with tap.untouched(model), torch.no_grad():
        histograms = work.survey(described)
        work.check()
        thresholds = {name: found.above(quantile) for name, found in histograms.items()}
        overlaps, areas = work.measure(thresholds)
    parts = tuple(work.parts)
    # What is tested must not depend on which masks go with which images: the sizes of both do not.
    tested = [_ceiling(overlap, areas) > min_overlap for overlap in overlaps.values()]
    p = shuffles.corrected([overlap.sample for overlap in overlaps.values()], areas.sample, tested, seed=seed)
    grids = {layer.name: layer.grid for layer in described}
    found = {
        name: _dissected(overlap, areas, grids[name], own)
        for (name, overlap), own in zip(overlaps.items(), p, strict=True)
    }
    return Dissection(
        model=model, parts=parts, layers=found, area=areas.share(), records=work.records, images=work.images,
        quantile=quantile, min_overlap=min_overlap, alpha=alpha, grid=work.grid, sampled=len(areas.sample),
        source=work.source, skipped=tuple(map(str, work.errors)),
        notes=(*work.notes, *_notes(work, areas, histograms, quantile, min_overlap)),
    )  # fmt: skip


def _check(quantile: float, min_overlap: float, alpha: float, grid: int, batch: int) -> None:
    if not 0 < quantile < 1:
        raise InnersightError(
            f"quantile={quantile:g} is the share of locations at which a unit responds: give 0 < quantile < 1"
        )
    if not 0 <= min_overlap < 1 or not 0 < alpha <= 1:
        raise InnersightError(
            f"min_overlap is {min_overlap:g} and alpha is {alpha:g}: give 0 <= min_overlap < 1 and 0 < alpha <= 1"
        )
    if grid < COARSE or batch < 1:
        raise InnersightError(f"grid is {grid} and batch is {batch}: give at least {COARSE} and 1")


class Areas:
    """How much of the images the parts cover. total : (parts,) pixels. drawn : (RESAMPLES, parts).

    sample : (images, parts, COARSE, COARSE) uint8, of the images drawn for the test.
    """

    def __init__(self, parts: int, sampled: int) -> None:
        self.total, self.pixels = torch.zeros(parts, dtype=torch.int64), 0
        self.drawn = torch.zeros(RESAMPLES, parts)
        self.sample = torch.zeros(sampled, parts, COARSE, COARSE, dtype=torch.uint8)

    def add(self, masks: Tensor, drawn: Tensor, rows: Sequence[int | None], grid: tuple[int, int]) -> None:
        """Take in the masks (B, parts, pixels) of a batch."""
        area = masks.sum(2)
        self.total += area.sum(0).long()
        self.pixels += len(masks) * masks.shape[2]
        self.drawn += drawn @ area
        for mask, row in zip(masks, rows, strict=True):
            if row is not None:
                self.sample[row] = coarse(mask.view(-1, *grid))

    def share(self) -> Tensor:
        """Return how much of all pixels each part covers, (parts,) float32, 0 to 1."""
        return (self.total / max(1, self.pixels)).float()


class _Work:
    """Both passes over the images, and what they share."""

    def __init__(
        self, model: Model, images: Given, masks: masked.MasksGiven, grid: tuple[int, int], batch: int, threads: int,
        progress: masked.Progress | None,
    ) -> None:  # fmt: skip
        self.model, self.given, self.grid, self.batch, self.threads = model, images, grid, batch, threads
        self.source = masked.source(masks, images)
        self.progress = progress
        self.parts = list(self.source.parts)
        self.used: dict[str, str] = {}
        self.errors: list[ImageError] = []
        self.notes: tuple[str, ...] = ()
        self.marked = False
        self.images = 0
        self.records: dict[int, ImageEntry] = {}

    def survey(self, layers: Sequence[Layer]) -> dict[str, Thresholds]:
        """Return the distribution of every unit; learns which parts and how many images there are."""
        found = {layer.name: Thresholds(layer.units, self.model.device) for layer in layers}
        for loaded in self._batches("thresholds"):
            for one in loaded:
                self._learn(one)
            self.images += len(loaded)
            tap.read(self.model, self._input(loaded), {name: histogram.add for name, histogram in found.items()})
        return found

    def measure(self, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Overlap], Areas]:
        """Return the overlaps above the thresholds, and the areas of the parts."""
        chosen = np.random.default_rng(0).permutation(self.images)[: shuffles.SAMPLE]
        rows_of = {int(image): row for row, image in enumerate(np.sort(chosen))}
        device = self.model.device
        found = {
            name: Overlap(threshold.to(device), len(self.parts), self.grid, len(rows_of))
            for name, threshold in thresholds.items()
        }
        areas, before = Areas(len(self.parts), len(rows_of)), 0
        for loaded in self._batches("overlaps"):
            rows = [rows_of.get(before + i) for i in range(len(loaded))]
            before += len(loaded)
            masks = masked.stacked(loaded, self.parts, self.grid).float()
            own = [one.entry for one in loaded]
            drawn = draws(own)
            areas.add(masks, drawn, rows, self.grid)
            more: dict[str, Any] = {"masks": masks.to(device), "entries": own, "drawn": drawn.to(device), "rows": rows}
            readers = {name: partial(overlap.add, **more) for name, overlap in found.items()}
            tap.read(self.model, self._input(loaded), readers)
            self._keep(own, found)
        if before != self.images:
            raise InnersightError(
                f"{self.images} images could be read at first, {before} later: do not change them while dissect runs"
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
        if not self.marked:
            raise InnersightError(
                f"the masks of all {self.images} images are empty in what the network sees: they must not be 0 "
                "where a part is, and an image may be cropped to its middle"
            )

    def _batches(self, title: str) -> Iterator[list[masked.Masked]]:
        reading = ImageReader(self.given, self.model.input, workers=self.threads, required=False)
        reader = partial(masked.read, spec=self.model.input, masks=self.source, grid=self.grid)
        surveying, done = title == "thresholds", 0
        for loaded in batched(reading.each(reader), self.batch):
            yield loaded
            done += len(loaded)
            if self.progress is not None:
                self.progress(done, 0 if surveying else self.images, f"{title}, {printable(loaded[-1].entry.name)}")
        if surveying:
            self.errors, self.notes = reading.errors, reading.notes

    def _input(self, loaded: Sequence[masked.Masked]) -> Tensor:
        return network_input([Loaded(one.entry, one.values, None) for one in loaded], self.model)

    def _learn(self, one: masked.Masked) -> None:
        self.parts += [part for part in one.parts if part not in self.parts]
        self.marked = self.marked or any(mask.any() for mask in one.parts.values())
        end = None if self.source.files is None else self.source.files.end(one.entry.name)
        if end is not None and self.used.setdefault(end, one.entry.name) != one.entry.name:
            raise InnersightError(
                f"{printable(self.used[end])} and {printable(one.entry.name)} share one mask, {end!r}; put masks into "
                "subfolders named like those of the images"
            )

    def _keep(self, own: Sequence[ImageEntry], found: Mapping[str, Overlap]) -> None:
        shown = set(chain.from_iterable(overlap.shown.flatten().tolist() for overlap in found.values()))
        self.records |= {entry.number: entry for entry in own}
        self.records = {number: entry for number, entry in self.records.items() if number in shown}


def _ceiling(overlap: Overlap, areas: Areas) -> Tensor:
    """Return the highest overlap that every unit and part could have, given their areas."""
    on, area = overlap.on.cpu(), areas.total
    return torch.minimum(on[:, None], area) / torch.maximum(on[:, None], area).clamp(min=1)


def _dissected(overlap: Overlap, areas: Areas, grid: tuple[int, int], p: Tensor) -> LayerDissection:
    both, on, area = overlap.both.cpu(), overlap.on.cpu(), areas.total
    drawn = share(overlap.both_drawn.cpu(), overlap.on_drawn.cpu(), areas.drawn)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975]), dim=0)
    return LayerDissection(
        grid=grid, threshold=overlap.threshold.cpu(), share=(overlap.above / max(1, overlap.locations)).float().cpu(),
        area=(on / max(1, areas.pixels)).float(), overlap=share(both, on, area), low=low, high=high, p=p,
        shown=overlap.shown.cpu(),
    )  # fmt: skip


def _notes(
    work: _Work, areas: Areas, histograms: Mapping[str, Thresholds], quantile: float, min_overlap: float
) -> Iterator[str]:
    own = dict(zip(work.parts, areas.share().tolist(), strict=True))
    absent = [part for part, share in own.items() if share == 0]
    if absent:
        yield f"{_listed(absent)}: on none of the {work.images} images, so it cannot be a label"
    large = [part for part, share in own.items() if share > 0 and quantile / share <= min_overlap]
    if large:
        wanted = max(own[part] for part in large) * min_overlap
        yield (
            f"{_listed(large)}: too large for a label, since a unit that responds at {quantile:.2%} of the locations "
            f"overlaps it by {max(quantile / own[part] for part in large):.3f} at most, and a label needs "
            f"{min_overlap:g}; raise quantile to {wanted:.2g}"
        )
    small = [part for part, share in own.items() if 0 < share / quantile <= min_overlap]
    if small:
        yield f"{_listed(small)}: too small for a label: less than {min_overlap:g} of what a unit responds to"
    spare = work.source.files.ends - work.used.keys() if work.source.files else ()
    if spare:
        yield f"{len(spare):,} masks belong to none of the images, such as {min(spare)!r}"
    for name, found in histograms.items():
        if found.left_out:
            yield f"{name}: {found.left_out:,} maps contain NaN or infinity; they are left out"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(map(printable, names[:6])) + more
