"""`atlas`: the activation vectors of a layer on a map, each region drawn as what it looks for and what it found."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from innersight.atlas.cells import Cells, cells_of, check_spread, constant, faithfulness, laid_out, unit_vectors
from innersight.atlas.directions import whitened
from innersight.atlas.keep import AtlasKeep, StudyAtlasKeep
from innersight.atlas.layouts import layouts
from innersight.atlas.options import AtlasOptions
from innersight.atlas.reading import read_again
from innersight.atlas.result import Atlas, AtlasLevel, lists
from innersight.call import public
from innersight.errors import InnersightError
from innersight.inputs import Given, repeatable
from innersight.layers import check_layers
from innersight.model import Model
from innersight.options import changed
from innersight.patterns import PatternOptions, patterns
from innersight.patterns import estimate as estimate_patterns
from innersight.patterns.objectives import Objective
from innersight.patterns.objectives.direction import along
from innersight.patterns.result import PatternEstimate, PatternProgress
from innersight.patterns.sizes import takes_size
from innersight.vectors import VectorSample, sample

GRIDS = (2, 64)
CLASSES = 12  # that cells are attributed to where none are named
SHOWN = (12, 6, 2)  # examples of a cell, the coarsest level first
SMALLEST = 64  # side of a pattern
RATE = 0.05  # of learning: at the usual one patterns of whole directions are noise
TRIED = 16  # images of which the second pass is timed
ProgressCallback = Callable[[int, int, str], None]
_INPUTS = ("grid", "classes", "out", "ray", "progress")


@dataclass(frozen=True)
class AtlasEstimate:
    """What an atlas will cost; `str` gives it in one sentence.

    Attributes
    ----------
    cells : int
        Patterns to be drawn.
    images : int
        That have vectors in the sample.
    seconds : float
        Duration, with the passes over the images and the layout.
    bytes : int
        Memory of the passes, beyond the network.

    """

    cells: int
    images: int
    seconds: float
    bytes: int

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.1f} minutes" if self.seconds >= 90 else f"{self.seconds:.0f} seconds"
        return f"{self.cells:,} patterns, {self.images:,} images: about {minutes}; {self.bytes / 2**20:.0f} MiB"


@public()
def atlas(
    model: Model,
    images: Any,
    layer: str,
    *,
    grid: int = 20,
    classes: Sequence[str | int] | None = None,
    options: AtlasOptions | None = None,
    out: str | Path | None = None,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
    **changes: Any,
) -> Atlas:
    """Lay out what a layer tells apart on a map, and draw each region as the layer sees it.

    Activation vectors are sampled from all images and laid out so that vectors of similar direction are neighbours. A
    grid is laid over them, and every cell shown in two ways: as the pattern of its mean direction, and as parts of the
    images that its vectors come from.

    Parameters
    ----------
    model
        The network.
    images
        Anything that holds images, see `innersight.inputs.entries`: some hundreds or more. They are read twice.
    layer
        Name of the layer.
    grid
        Cells a side, 2 to 64; there is a level with half as many a side, and one with twice as many.
    classes
        Classes that cells are attributed to; when None, those predicted most often, at most 12.
    options
        How the atlas is made; the defaults when None.
    out
        Folder of a study that the atlas is kept in; an interrupted one resumes there.
    ray
        Address of a Ray cluster whose workers draw the patterns: HOST:PORT, "auto" or "local", with
        `?workers=4&cpus=2&gpus=1` behind it; this machine when None.
    progress
        Called with the number done, the total (0 while unknown), and what is being done.
    **changes
        Fields of `AtlasOptions` that differ from `options`, such as `vectors=2_000`.

    Returns
    -------
    Atlas
        Three zoom levels with cells, patterns, crops and attributions.

    Raises
    ------
    InnersightError
        For an unknown layer, class, layout or option, numbers out of range, vectors too few or too much alike to be
        laid out, images that change meanwhile, and what `innersight.patterns` raises.
    ImageError
        Where no image could be read. Single images that cannot be read are listed in `skipped`.

    Notes
    -----
    After Carter et al. 2019, https://distill.pub/2019/activation-atlas. The direction of a cell is its mean vector,
    less the mean of all, whitened by the layer's covariance; it is drawn by the objective `direction`. The vectors of a
    cell count for a class what gradient x activation gives on their own images, averaged over the cell: to first order,
    by how much the score would fall without one of them; exact where the score is linear in the layer.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.toons import Drawn
    >>> found = ins.atlas(ins.load("toon"), Drawn(per_class=1), "stage4", grid=4, vectors=200, layout="pca", drawn=0)
    >>> [level.grid for level in found.levels], len(found.points)
    ([2, 4, 8], 200)

    """
    settled = changed("atlas", AtlasOptions, options, changes, _INPUTS)
    data = repeatable(images)
    plan = _Plan.of(model, layer, grid, classes, settled)
    keep = AtlasKeep() if out is None else StudyAtlasKeep.open(out, model, layer)
    report = progress or _silent
    with keep.working():
        ready = _prepare(model, data, plan, keep, report)
        return _made(model, data, plan, ready, keep, ray, report)


@public()
def estimate(
    model: Model,
    images: Any,
    layer: str,
    *,
    grid: int = 20,
    classes: Sequence[str | int] | None = None,
    options: AtlasOptions | None = None,
    out: str | Path | None = None,
    progress: ProgressCallback | None = None,
    **changes: Any,
) -> AtlasEstimate:
    """Return how long `atlas` would take with the same options: vectors are sampled and laid out, the rest is measured.

    Parameters
    ----------
    model, images, layer, grid, classes, options, out, progress, **changes
        As `atlas` takes them. With `out` the layout is kept for it.

    Returns
    -------
    AtlasEstimate
        Patterns, seconds and memory.

    Raises
    ------
    InnersightError
        As `atlas` does.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.atlas import estimate
    >>> from innersight.toons import Drawn
    >>> found = estimate(ins.load("toon"), Drawn(per_class=1), "stage4", grid=4, vectors=200, layout="pca", drawn=0)
    >>> found.cells, found.images
    (0, 10)

    """
    settled = changed("estimate", AtlasOptions, options, changes, _INPUTS)
    data = repeatable(images)
    plan = _Plan.of(model, layer, grid, classes, settled)
    keep = AtlasKeep() if out is None else StudyAtlasKeep.open(out, model, layer)
    begun = time.perf_counter()
    with keep.working():
        ready = _prepare(model, data, plan, keep, progress or _silent)
    seconds = time.perf_counter() - begun
    found = ready.sample
    some = min(TRIED, len(found.names))
    begun = time.perf_counter()
    read_again(model, data, _of_first(found, some), _class_numbers(plan, found), torch.empty(0).long(), _ignored)
    seconds += (time.perf_counter() - begun) / some * len(found.names)
    objectives = [one for one in ready.objectives if one is not None]
    drawing = (
        estimate_patterns(model, objectives, options=plan.drawing) if objectives else PatternEstimate(0, 0, 0.0, 0)
    )
    return AtlasEstimate(len(objectives), len(found.names), seconds + drawing.seconds, drawing.bytes)


@dataclass(frozen=True)
class _Plan:
    """What was asked for, checked. classes : numbers, None for the usual ones. drawing : of the patterns."""

    layer: str
    grids: tuple[int, ...]
    classes: tuple[int, ...] | None
    options: AtlasOptions
    drawing: PatternOptions

    @classmethod
    def of(
        cls, model: Model, layer: str, grid: int, classes: Sequence[str | int] | None, options: AtlasOptions
    ) -> "_Plan":
        if not GRIDS[0] <= grid <= GRIDS[1]:
            raise InnersightError(f"grid={grid}: give {GRIDS[0]} to {GRIDS[1]} cells a side")
        check_layers(model, [layer])
        layouts.entry(options.layout)
        chosen = None if classes is None else tuple(dict.fromkeys(_numbered(model, classes)))
        size = options.size
        if size is None:
            half = max(SMALLEST, min(model.input.height, model.input.width) // 2)
            size = half if half < min(model.input.height, model.input.width) and takes_size(model, half) else None
        drawing = PatternOptions(steps=options.steps, size=size, seeds=1, seed=options.seed, lr=RATE, until="steps")
        return cls(layer, (grid // 2, grid, 2 * grid), chosen, options, drawing)


def _numbered(model: Model, classes: Sequence[str | int]) -> list[int]:
    """Return the numbers of classes; one text may name several, separated by commas."""
    names = [
        part
        for one in classes
        for part in ([one] if not isinstance(one, str) or one in model.labels else one.split(","))
    ]
    if not names:
        raise InnersightError("classes is empty: omit it for the classes predicted most often, or name some")
    return [model.class_index(name.strip() if isinstance(name, str) else name) for name in names]


@dataclass(frozen=True, eq=False)
class _Ready:
    """What is known before the patterns are drawn. objectives : of the drawn levels' cells; None for no direction."""

    sample: VectorSample
    points: Tensor
    cells: tuple[Cells, ...]
    means: tuple[Tensor, ...]
    objectives: list[Objective | None]


def _prepare(model: Model, images: Given, plan: _Plan, keep: AtlasKeep, report: ProgressCallback) -> _Ready:
    """Sample the vectors, lay them out, and settle what is drawn."""
    options = plan.options
    drawn = sample(
        model, images, plan.layer, count=options.vectors, per_image=options.per_image, seed=options.seed,
        progress=lambda done, total, name: report(done, total, f"vectors, {name}"),
    )  # fmt: skip
    check_spread(drawn)
    report(0, 0, f"layout of {len(drawn):,} vectors by {layouts.entry(options.layout).title}")
    known = {"layout": options.layout, "seed": options.seed}
    points = keep.places(drawn, known, lambda: laid_out(drawn, options.layout, options.seed))
    cells = tuple(cells_of(points, grid) for grid in plan.grids)
    means = tuple(one.mean(drawn.vectors) for one in cells)
    objectives: list[Objective | None] = []
    if options.drawn:
        directions = whitened(torch.cat(means[: options.drawn]), drawn.vectors)
        objectives = [along(plan.layer, one) if one.any() else None for one in directions]
    return _Ready(drawn, points, cells, means, objectives)


def _made(
    model: Model, images: Given, plan: _Plan, ready: _Ready, keep: AtlasKeep, ray: str | None, report: ProgressCallback
) -> Atlas:
    found = ready.sample
    numbers = _class_numbers(plan, found)
    shown = _examples(ready.cells, found)
    pool = torch.unique(torch.cat([one[one >= 0] for one in shown]))
    total = len(found.names)
    again = read_again(model, images, found, numbers, pool, lambda done: report(done, total, "crops and attributions"))
    drawn = _drawn(model, plan, ready, keep, ray, report)
    predicted = (found.predicted[found.image][:, None] == torch.tensor(numbers)).float()
    place = torch.full((len(found) + 1,), -1)
    place[pool] = torch.arange(len(pool))
    ends = [0, *torch.tensor([len(one) for one in ready.cells]).cumsum(0).tolist()]
    levels = tuple(
        AtlasLevel(
            cells.grid, cells.position, cells.count, mean, cells.mean(again.attribution), cells.mean(predicted),
            place[examples], drawn[ends[i] : ends[i + 1]] if i < plan.options.drawn else torch.empty(0),
        )
        for i, (cells, mean, examples) in enumerate(zip(ready.cells, ready.means, shown, strict=True))
    )  # fmt: skip
    made = Atlas(
        model, plan.layer, tuple(model.labels[number] for number in numbers), levels, ready.points, again.crops,
        tuple(found.names[i] for i in found.image[pool].tolist()), found.location[pool], found.images,
        faithfulness(found, ready.points, plan.options.seed),
        {**plan.options.to_json(), "grid": plan.grids[1], "size": list(drawn.shape[2:]) if len(drawn) else None},
        found.skipped, (*found.notes, *_notes(plan, ready)), found.warnings,
    )  # fmt: skip
    keep.finish(made)
    return made


def _drawn(
    model: Model, plan: _Plan, ready: _Ready, keep: AtlasKeep, ray: str | None, report: ProgressCallback
) -> Tensor:
    """Return the patterns (cells, C, H, W) of the drawn levels; a cell without a direction is grey."""
    wanted = [one for one in ready.objectives if one is not None]
    if not wanted:
        return torch.empty(0)

    def show(state: PatternProgress) -> None:
        done = round(state.share * len(wanted)) if ray is None else state.done
        report(done, len(wanted), f"patterns, {state.rate:.0f} updates/s")

    images = patterns(model, wanted, options=plan.drawing, keep=keep.folder, ray=ray, progress=show).images
    found = images.new_full((len(ready.objectives), *images.shape[1:]), 0.5)
    found[[i for i, one in enumerate(ready.objectives) if one is not None]] = images
    return found


def _class_numbers(plan: _Plan, found: VectorSample) -> list[int]:
    """Return the classes that cells are attributed to: those named, else those predicted most often, by number."""
    if plan.classes is not None:
        return list(plan.classes)
    numbers, counts = torch.unique(found.predicted, return_counts=True)
    most = counts.argsort(descending=True, stable=True)[:CLASSES]
    return sorted(numbers[most].tolist())


def _examples(cells: Sequence[Cells], found: VectorSample) -> list[Int[Tensor, "cells k"]]:
    """Return the vectors shown of every cell, most typical first, each of another image; -1 for none.

    The coarser levels show vectors that the finer ones show too, so that few crops are kept.
    """
    units = unit_vectors(found.vectors)
    shown: list[Tensor] = []
    pool = torch.ones(len(found), dtype=torch.bool)
    for own, limit in reversed(list(zip(cells, SHOWN, strict=True))):
        typical = (units * unit_vectors(own.mean(units.float()))[own.member]).sum(1)
        rows: list[list[int]] = [[] for _ in range(len(own))]
        images: list[set[int]] = [set() for _ in range(len(own))]
        order = typical.argsort(descending=True, stable=True)
        for vector in order[pool[order]].tolist():
            cell, image = int(own.member[vector]), int(found.image[vector])
            if len(rows[cell]) < limit and image not in images[cell]:
                rows[cell].append(vector)
                images[cell].add(image)
        pool = torch.zeros(len(found), dtype=torch.bool)
        pool[[vector for row in rows for vector in row]] = True
        shown.append(lists(rows, limit))
    return shown[::-1]


def _notes(plan: _Plan, ready: _Ready) -> list[str]:
    found, cells = ready.sample, len(ready.cells[1])
    notes = []
    if found.grid == (1, 1):
        notes.append(f"{plan.layer} has no locations: each vector is of a whole image")
    still = int(constant(found).sum())
    if still:
        units = found.vectors.shape[1]
        notes.append(f"{still} of the {units} units of {plan.layer} have one value in all vectors: they play no part")
    if len(found) < 3 * plan.grids[1] ** 2:
        notes.append(
            f"{len(found):,} vectors for a grid of {plan.grids[1]} x {plan.grids[1]}: its {cells} cells hold "
            f"{len(found) / cells:.1f} each; more images or a smaller grid make them typical"
        )
    return notes


def _of_first(found: VectorSample, images: int) -> VectorSample:
    """Return a sample of its first images alone."""
    kept = int((found.image < images).sum())
    return replace(
        found, vectors=found.vectors[:kept], image=found.image[:kept], location=found.location[:kept],
        names=found.names[:images], numbers=found.numbers[:images], stamps=found.stamps[:images],
        labels=found.labels[:images], logits=found.logits[:images],
    )  # fmt: skip


def _silent(done: int, total: int, what: str) -> None:
    pass


def _ignored(done: int) -> None:
    pass
