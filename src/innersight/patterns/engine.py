"""`patterns`: the image that activates each unit, class or other objective most."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from innersight import tap
from innersight.address import Address
from innersight.call import public
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.inputs import count, read, read_one, repeatable
from innersight.layers import survey
from innersight.model import Model
from innersight.options import changed
from innersight.patterns.batching import batch_of, bytes_of
from innersight.patterns.growth import grown
from innersight.patterns.jobs import FinishedPattern, Kept, PatternJob, Recipe
from innersight.patterns.judge import verdicts
from innersight.patterns.natural import KEPT, natural_objectives
from innersight.patterns.objectives import Objective, Target, grids, resolve
from innersight.patterns.objectives.direction import driven
from innersight.patterns.objectives.diverse import differing
from innersight.patterns.optimizer import PatternOptimizer, draw_remote
from innersight.patterns.options import PatternOptions, Statistics
from innersight.patterns.parameterize import measure_statistics, parameterizations, photograph_statistics
from innersight.patterns.responses import BATCH, Naturals, References, naturals_of, nothing, references_of, scanned
from innersight.patterns.result import PatternEstimate, PatternProgress, Patterns
from innersight.patterns.score import PASSES, beside, respond, scored
from innersight.patterns.sizes import check_size
from innersight.patterns.views import Windows
from innersight.scalars import shown

if TYPE_CHECKING:
    from innersight.scan import Scan

EXAMPLES = 3
CALM = 1 / 3  # of the learning rate, for natural patterns: larger steps leave grain


@public(layer="what", layers="what", target="what", targets="what")
def patterns(
    model: Model,
    what: "str | Target | Sequence[str | Target]",
    *,
    options: PatternOptions | None = None,
    images: Any = None,
    scan: "Scan | None" = None,
    reference: Any = None,
    init: Any = None,
    keep: "str | Path | None" = None,
    ray: str | None = None,
    judge: Model | None = None,
    progress: Callable[[PatternProgress], None] | None = None,
    **changes: Any,
) -> Patterns:
    """Return the images that activate units, classes or other objectives most: activation maximization.

    Parameters
    ----------
    model : Model
        The network.
    what : str, address, Objective, or several of these
        Addresses such as "stage2:0-15", "stage2" (all its units) or "class:NAME"; `KIND(ADDRESS)` and sums of these,
        see `innersight.patterns.objectives.resolve`.
    options : PatternOptions, optional
        How they are drawn; the defaults when None.
    images : images, optional
        Anything that holds images, see `innersight.inputs.entries`: for the natural maximum in the scores, and for the
        examples beside the patterns.
    scan : Scan, optional
        The result of `innersight.scan`. Its maxima and percentiles take the place of those of `images` in the scores.
    reference : image, optional
        The image that `caricature` exaggerates and `inversion` reconstructs.
    init : image, optional
        Start from this image (accentuation); from random pixels when None.
    keep : path, optional
        Folder in which every finished image is kept. The same call with the same folder resumes after Ctrl-C or a kill.
    ray : str, optional
        Address of a Ray cluster whose workers draw the images: "HOST:PORT", "auto" or "local", then
        `?workers=4&cpus=2`, see `innersight.remote`. Images are kept and scored on this machine.
    judge : Model, optional
        An independent network, trained on its own, with the same classes: it says what it takes the patterns of classes
        for, in `Patterns.verdicts`.
    progress : callable, optional
        Called with a `PatternProgress` every few updates; with `ray` after every image, in batches.
    **changes
        Fields of `PatternOptions` that differ from `options`, such as `steps=64`.

    Returns
    -------
    Patterns
        One image for each objective, with its score, its seeds and variants, and examples where there are images.

    Raises
    ------
    InnersightError
        For unknown addresses, objectives and options, values out of range, and a folder that cannot be written.

    Notes
    -----
    Adam ascends the mean of a unit's activation map (the value at `@y,x`, a class score, or another objective) under
    small random shifts, rotations and zooms (Erhan et al. 2009; Olah et al. 2017,
    https://distill.pub/2017/feature-visualization).

    The random streams of an objective depend on the seed and on its text only: on the CPU its image is the same, bit
    for bit, whichever others share the run.

    Examples
    --------
    >>> import innersight as ins
    >>> found = ins.patterns(ins.load("small:8"), "stage1:0-1", steps=2, seeds=1, size=32)
    >>> tuple(found.images.shape)
    (2, 3, 32, 32)

    """
    if not isinstance(judge, Model | None):
        raise InnersightError(f"judge is {shown(judge)}: give a Model, as `innersight.load` returns it")
    images = None if images is None else repeatable(images)
    settled = changed("patterns", PatternOptions, options, changes, _INPUTS)
    recipe = recipe_of(model, settled, images, init, imitates=reference is not None)
    inputs = {
        key: _read_one(model, image, recipe.shape, key)
        for key, image in (("init", init), ("reference", reference))
        if image is not None
    }
    targets = resolve(model, what, inputs.get("reference"), recipe.shape[1:])
    settings = {**recipe.options.to_json(), "optimizer": "Adam"}
    settings |= {key: f"{image.name} {image.digest()}" for key, image in inputs.items()}
    seeds, negatives = recipe.options.seeds, recipe.options.negatives
    with tap.untouched(model), tap.fold_batchnorm():
        everything = (*targets, *(-target for target in targets)) if negatives else targets
        references = references_of(model, everything, recipe.shape[1:])
        # Before anything is drawn: the folder may hold no image.
        naturals = _naturals(model, everything, images, recipe.shape[1:], len(targets))
        aims, unmatched = natural_objectives(model, everything, naturals, images, recipe, references)
        jobs = jobs_of(model, everything, recipe, aims)
        naturals = naturals if scan is None else scanned(model, everything, naturals, scan)
        kept = Kept.open(keep, model, settings) if keep is not None else None
        drawn = _draw(model, jobs, recipe, references, kept, ray, progress)
        by_target = [drawn[i * seeds : (i + 1) * seeds] for i in range(len(everything))]
        best, scores = scored(model, by_target, references, naturals.highest)
    chosen = [seeds_of[i] for seeds_of, i in zip(by_target, best, strict=True)]

    def part(span: slice, negative: Patterns | None = None, beside: Naturals | None = None) -> Patterns:
        return Patterns(
            model,
            everything[span],
            torch.stack([one.pixels[0] for one in chosen[span]]),
            torch.stack([torch.cat([one.pixels for one in own]) for own in by_target[span]]),
            torch.stack([one.importance[0] for one in chosen[span]]),
            tuple(scores[span]),
            tuple(best[span]),
            settings,
            negative,
            torch.empty(0) if beside is None else beside.pixels,
            () if beside is None else beside.examples,
            naturals.skipped,
            (*naturals.notes, *unmatched),
            grown(model, chosen[span], settings) if settled.growth else None,
        )

    off = part(slice(len(targets), None)) if negatives else None
    found = part(slice(len(targets)), off, naturals)
    if judge is None:
        return found
    judged, remarks = verdicts(judge, found.targets, found.images)
    return replace(found, verdicts=judged, notes=(*found.notes, *remarks))


def _naturals(
    model: Model,
    wanted: Sequence[Objective],
    images: Any,
    size: tuple[int, int],
    shown: int,
    numbers: Sequence[int] | None = None,
) -> Naturals:
    if images is None:
        return nothing(len(wanted))
    placed = sorted(
        {t.address.layer for o in wanted for t in o.terms if isinstance(t.address, Address) and t.address.location}
    )
    known = grids(model, placed, size) if placed else {}
    return naturals_of(model, wanted, images, size, (EXAMPLES, KEPT), shown, known, numbers)


@public(layer="what", layers="what", target="what", targets="what")
def estimate(
    model: Model,
    what: "str | Target | Sequence[str | Target]",
    *,
    options: PatternOptions | None = None,
    images: Any = None,
    reference: Any = None,
    init: Any = None,
    **changes: Any,
) -> PatternEstimate:
    """Return how long `patterns` would take with the same options, measured by doing a little of all of it.

    Two updates of a batch of every layer are made, one scoring pass, and one batch of the images is read.

    Parameters
    ----------
    model, what, options, images, reference, init, **changes
        As `patterns` takes them.

    Returns
    -------
    PatternEstimate
        Images, seconds and memory.

    Raises
    ------
    InnersightError
        As `patterns` does.

    Examples
    --------
    >>> import innersight as ins
    >>> estimate(ins.load("small:8"), "stage1:0-1", steps=2, seeds=3, size=32).images
    6

    """
    images = None if images is None else repeatable(images)
    settled = changed("estimate", PatternOptions, options, changes, ("images", "reference", "init"))
    recipe = recipe_of(model, settled, images, init, imitates=reference is not None)
    image = None if reference is None else _read_one(model, reference, recipe.shape, "reference")
    targets = resolve(model, what, image, recipe.shape[1:])
    with tap.untouched(model), tap.fold_batchnorm():
        everything = (*targets, *(-target for target in targets)) if settled.negatives else targets
        references = references_of(model, everything, recipe.shape[1:])
        begun, whole = time.perf_counter(), 0 if images is None else count(images)
        some = min(BATCH, whole)
        naturals = _naturals(model, everything, images, recipe.shape[1:], len(targets), range(some))
        seconds, most = (time.perf_counter() - begun) / max(1, some) * whole, 0
        begun = time.perf_counter()
        aims, _ = natural_objectives(model, everything, naturals, images, recipe, references)
        jobs = jobs_of(model, everything, recipe, aims)
        seconds += time.perf_counter() - begun
        groups: dict[Any, list[PatternJob]] = {}
        for job in jobs:
            groups.setdefault((job.optimized.terms[0].layer, job.fed), []).append(job)
        for group in groups.values():
            rows, share = batch_of(model, group, recipe, references)
            first = group[: max(1, rows // group[0].rows)]
            each = _seconds(PatternOptimizer(model, first, _short(recipe), references, rows, share))
            seconds += each / sum(job.rows for job in first) * sum(job.rows * job.updates(recipe) for job in group)
            most = max(most, share * bytes_of(model, group[0], recipe, references))
            looked = [job.objective for job in group[:rows]]
            begun = time.perf_counter()
            respond(model, looked, torch.zeros(len(looked), *recipe.shape), references)
            seconds += PASSES * (time.perf_counter() - begun) / len(looked) * len(group)
    return PatternEstimate(len(targets), sum(job.rows for job in jobs), seconds, most)


_INPUTS = ("images", "scan", "reference", "init", "keep", "ray", "judge", "progress")


def _short(recipe: Recipe) -> Recipe:
    return replace(recipe, options=replace(recipe.options, steps=4))


def _seconds(slots: PatternOptimizer) -> float:
    """Return the seconds of one update of the batch, the first left out."""
    slots.fill()
    slots.advance(1)
    start = time.perf_counter()
    made = slots.advance(2)
    return (time.perf_counter() - start) / made


def recipe_of(model: Model, options: PatternOptions, images: Any, init: Any, *, imitates: bool = False) -> Recipe:
    """Return the recipe of a run: the options, with what depends on the network and the images settled.

    imitates : whether there is a reference.
    """
    make, size = parameterizations[options.parameterize], options.size
    height, width = (
        (model.input.height, model.input.width) if size is None else (size, size) if isinstance(size, int) else size
    )
    shape = (model.input.channels, height, width)
    if shape != model.input.shape:
        check_size(model, shape)
    statistics = options.statistics
    if statistics == "photographs":
        statistics = photograph_statistics(model.input.channels)
    elif statistics == "images":
        shown = () if images is None else read(images, model.input).images
        statistics = measure_statistics(shown, model.input)
    assert isinstance(statistics, Statistics)
    if len(statistics.mean) != model.input.channels:
        raise InnersightError(
            f"statistics of {len(statistics.mean)} channels, but the network takes {model.input.channels}"
        )
    backend = "inductor" if options.compile is True else options.compile or ""
    if backend and backend not in torch.compiler.list_backends(exclude_tags=()):
        known_backends = ", ".join(torch.compiler.list_backends())
        raise InnersightError(f"compile={options.compile!r} is no backend of torch.compile: {known_backends}")
    first = None
    if init is not None:
        spec = replace(model.input, height=height, width=width)
        first = spec.denormalise(read_one(init, spec, "init").tensor(spec)[None])[0].clamp(0, 1)
    own = make(shape, statistics, 0).lr * (CALM if options.natural else 1)
    lr = own if options.lr is None else options.lr
    contrast = 0.0 if imitates or init is not None else options.contrast
    settled = replace(options, size=(height, width), statistics=statistics, compile=backend, lr=lr, contrast=contrast)
    return Recipe(shape, settled, first)


def jobs_of(
    model: Model, targets: Sequence[Objective], recipe: Recipe, aims: Sequence[Objective] | None = None
) -> list[PatternJob]:
    """Return what has to be drawn, in the order of `targets` and their seeds.

    aims : what is optimized for each of them, where that is more than the target.
    """
    options, windows = recipe.options, Windows(model, recipe.shape)
    jobs = []
    for target, aim in zip(targets, aims or targets, strict=True):
        optimized, window = driven(aim), None
        found = windows.of(optimized) if options.variants == 1 else None
        if found is not None:
            optimized, window = found
        if options.variants > 1:
            optimized = optimized + differing(target, options.diversity, *beside(model, [target]))
        jobs += [
            PatternJob(target, optimized, options.seed + number, options.variants, window)
            for number in range(options.seeds)
        ]
    return jobs


def _draw(
    model: Model,
    jobs: Sequence[PatternJob],
    recipe: Recipe,
    references: References,
    kept: "Kept | None",
    ray: str | None,
    progress: Callable[[PatternProgress], None] | None,
) -> list[FinishedPattern]:
    """Draw what is not kept yet, the jobs of a layer together; return all in the order of `jobs`."""
    found: dict[PatternJob, FinishedPattern] = {}
    if kept is not None:
        found = {job: one for job in jobs if (one := kept.get(job)) is not None}
    depth = {layer.name: i for i, layer in enumerate(survey(model))}

    def order(job: PatternJob) -> tuple[Any, ...]:
        layers = [depth[t.layer] if t.layer is not None else len(depth) for t in job.optimized.terms]
        # Whole images last: the deepest of them needs the most memory, by which the batch is measured.
        size = (job.window.height, job.window.width) if job.window else recipe.shape[1:]
        return size, max(layers)

    queue = sorted((job for job in jobs if job not in found), key=order)
    if not queue:
        return [found[job] for job in jobs]
    start, updates = time.monotonic(), sum(job.rows * job.updates(recipe) for job in queue)
    total = len(jobs)

    def report(left: int, images: Callable[[], list[tuple[str, torch.Tensor]]]) -> None:
        if progress is not None:
            rate = (updates - left) / max(1e-9, time.monotonic() - start)
            progress(
                PatternProgress(
                    len(found), total, 1 - left / max(1, updates), rate, left / max(rate, 1e-9), images, model
                )
            )

    if ray is None:
        rows, share = batch_of(model, queue, recipe, references)
        slots = PatternOptimizer(model, queue, recipe, references, rows, share)
        drawn: Generator[FinishedPattern, None, None] = slots.run(
            lambda state: report(state.steps_left, lambda: [(str(j.objective), p) for j, p in state.images()])
        )
    else:
        drawn = draw_remote(model, queue, recipe, ray)
    with closing(drawn):
        for one in drawn:
            found[one.job] = one
            if kept is not None:
                kept.put(one)
            if ray is not None:
                report(sum(job.rows * job.updates(recipe) for job in queue if job not in found), list)
    report(0, list)
    return [found[job] for job in jobs]


def _read_one(model: Model, image: Any, shape: tuple[int, int, int], name: str) -> Image:
    return read_one(image, replace(model.input, height=shape[1], width=shape[2]), name)
