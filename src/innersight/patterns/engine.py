"""`patterns`: the image that drives each unit, class or other objective most."""

import inspect
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
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
from innersight.patterns import natural
from innersight.patterns.away import there
from innersight.patterns.examples import BATCH, Naturals, naturals_of, nothing, scanned
from innersight.patterns.keep import Kept
from innersight.patterns.memory import batch_of, bytes_of
from innersight.patterns.objectives import Objective, Target, grids, resolve
from innersight.patterns.objectives.diverse import differing
from innersight.patterns.parameterize import parameterizations
from innersight.patterns.progress import Estimate, Progress
from innersight.patterns.reading import References, references_of
from innersight.patterns.result import Patterns
from innersight.patterns.score import PASSES, beside, respond, scored
from innersight.patterns.slots import Drawn, Job, Recipe, Slots
from innersight.patterns.transforms import Views
from innersight.patterns.windows import Windows

if TYPE_CHECKING:
    from innersight.scan import Scan

EXAMPLES = 3
PRECISIONS = ("float32", "bfloat16")


@public(layer="what", layers="what", target="what", targets="what")
def patterns(
    model: Model,
    what: "str | Target | Sequence[str | Target]",
    *,
    steps: int = 256,
    size: int | tuple[int, int] | None = None,
    images: Any = None,
    scan: "Scan | None" = None,
    parameterize: str = "fourier",
    seed: int = 0,
    seeds: int = 2,
    negatives: bool = False,
    variants: int = 1,
    diversity: float = 1.0,
    of: Any = None,
    begin: Any = None,
    views: Views | None = None,
    statistics: natural.Statistics | str = "photographs",
    until: str = "converged",
    rate: float | None = None,
    precision: str = "float32",
    compile: bool | str = False,
    keep: "str | Path | None" = None,
    ray: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Patterns:
    """Return the image that drives each of the units, classes or objectives most, from random pixels.

    Activation maximization (Erhan et al. 2009; Olah et al. 2017, https://distill.pub/2017/feature-visualization): Adam
    ascends the mean of a unit's map (the value at `@y,x`, a class score, or another objective) under small random
    shifts, turns and zooms.

    what : addresses such as "stage2:0-15", "stage2" (all its units), "class:NAME"; `KIND(ADDRESS)` and sums, see
        `innersight.patterns.objectives.resolve`; Objectives.
    steps : updates of each image at most; four for each where they are made through windows of a quarter, as
        in early layers (see `innersight.patterns.windows`). until : "converged" ends an image when it stops rising,
        "steps" makes all.
    size : side in pixels, or (height, width); the model's own by default.
    images : whatever holds images, see `innersight.inputs.entries`, for the natural maximum in the scores
        and the examples beside the patterns. scan : the result of `innersight.scan`, whose maxima and percentiles the
        scores of its units take instead.
    parameterize : "fourier", "maco" or "pixels". statistics : colours and spectrum, "photographs" or "images" (those
        given), or of `natural.measure`.
    seed : the first. seeds : images drawn of each objective; the one with the highest response is shown.
    negatives : also what switches each off. variants : images of each that are to differ, by `diversity`.
    of : the image that `caricature` and `inversion` look at. begin : start from this image, not from random pixels.
    rate : of learning; the parameterization's own by default.
    precision : "bfloat16" computes the passes in bfloat16; scores are in the network's own type.
    compile : run the passes through torch.compile (True, or the name of a backend): worth it for hundreds of units.
    keep : a folder in which every finished image is kept; the same call with it goes on after Ctrl-C or a kill.
    ray : address of a Ray cluster whose workers draw them, "auto" or "local"; `?workers=4&cpus=2` may follow, see
        `innersight.remote`. They are kept and scored here.
    progress : called with a Progress every few updates; with `ray` after every image, in batches.

    The random streams of an objective depend on `seed` and its text only: on the CPU its image is the same, bit for
    bit, whichever others share the run. Raises InnersightError for unknown addresses and options, less than one step, a
    size below 8, and where the folder to keep in cannot be written.
    """
    images = None if images is None else repeatable(images)
    recipe = recipe_of(
        model, images, steps=steps, size=size, parameterize=parameterize, views=views, statistics=statistics,
        until=until, rate=rate, precision=precision, compile=compile, begin=begin,
    )  # fmt: skip
    _check_counts(seeds, variants)
    shown = {
        key: _read_one(model, image, recipe.shape, key)
        for key, image in (("begin", begin), ("of", of))
        if image is not None
    }
    targets = resolve(model, what, shown.get("of"), recipe.shape[1:])
    settings = _settings(recipe, seed, seeds, variants, diversity, shown)
    with tap.untouched(model), tap.fold_batchnorm():
        everything = (*targets, *(-target for target in targets)) if negatives else targets
        references = references_of(model, everything, recipe.shape[1:])
        jobs = jobs_of(model, everything, recipe, seed, seeds, variants, diversity)
        # Before anything is drawn: the folder may hold no image.
        naturals = _naturals(model, everything, images, recipe.shape[1:], len(targets))
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
            naturals.notes,
        )

    off = part(slice(len(targets), None)) if negatives else None
    return part(slice(len(targets)), off, naturals)


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
        {t.address.layer for o in wanted for t in o.terms if isinstance(t.address, Address) and t.address.place}
    )
    known = grids(model, placed, size) if placed else {}
    return naturals_of(model, wanted, images, size, EXAMPLES, shown, known, numbers)


@public(layer="what", layers="what", target="what", targets="what")
def estimate(model: Model, what: "str | Target | Sequence[str | Target]", **options: Any) -> Estimate:
    """Say how long `patterns` would take with the same arguments, by doing a little of everything it does.

    That is two updates of a batch of every layer, one look at what was drawn, and one batch of the images. Raises
    InnersightError as it does, and TypeError for an argument it does not have.
    """
    bound = inspect.signature(patterns).bind(model, what, **options)
    bound.apply_defaults()
    checked = bound.arguments
    recipe = recipe_of(model, checked["images"], **{name: checked[name] for name in _RECIPE})
    _check_counts(checked["seeds"], checked["variants"])
    of = checked["of"]
    like = None if of is None else _read_one(model, of, recipe.shape, "of")
    targets = resolve(model, what, like, recipe.shape[1:])
    with tap.untouched(model), tap.fold_batchnorm():
        everything = (*targets, *(-target for target in targets)) if checked["negatives"] else targets
        references = references_of(model, everything, recipe.shape[1:])
        begun = time.perf_counter()
        jobs = jobs_of(
            model, everything, recipe, *(checked[name] for name in ("seed", "seeds", "variants", "diversity"))
        )
        searching = time.perf_counter() - begun
        groups: dict[Any, list[Job]] = {}
        for job in jobs:
            groups.setdefault((job.driven.terms[0].layer, job.fed), []).append(job)
        seconds, most = searching, 0
        for group in groups.values():
            rows, share = batch_of(model, group, recipe, references)
            first = group[: max(1, rows // group[0].rows)]
            each = _seconds(Slots(model, first, replace(recipe, steps=3), references, rows, share))
            seconds += each / sum(job.rows for job in first) * sum(job.rows * job.updates(recipe) for job in group)
            most = max(most, share * bytes_of(model, group[0], recipe, references))
            looked = [job.objective for job in group[:rows]]
            begun = time.perf_counter()
            respond(model, looked, torch.zeros(len(looked), *recipe.shape), references)
            seconds += PASSES * (time.perf_counter() - begun) / len(looked) * len(group)
        if checked["images"] is not None:
            images = repeatable(checked["images"])
            begun, whole = time.perf_counter(), count(images)
            some = min(BATCH, whole)
            _naturals(model, everything, images, recipe.shape[1:], len(targets), range(some))
            seconds += (time.perf_counter() - begun) / max(1, some) * whole
    return Estimate(len(targets), sum(job.rows for job in jobs), seconds, most)


_RECIPE = ("steps", "size", "parameterize", "views", "statistics", "until", "rate", "precision", "compile", "begin")


def _seconds(slots: Slots) -> float:
    """Return the seconds of one update of the batch, the first left out."""
    slots.fill()
    slots.advance(1)
    start = time.perf_counter()
    slots.advance(2)
    return (time.perf_counter() - start) / 2


def recipe_of(
    model: Model,
    images: Any,
    *,
    steps: int,
    size: int | tuple[int, int] | None,
    parameterize: str,
    views: Views | None,
    statistics: natural.Statistics | str,
    until: str,
    rate: float | None,
    precision: str,
    compile: bool | str,
    begin: Any,
) -> Recipe:
    """Return the checked recipe of a run; see `patterns`."""
    if steps < 1:
        raise InnersightError(f"steps={steps}: a pattern needs at least one step")
    height, width = (
        (model.input.height, model.input.width) if size is None else (size, size) if isinstance(size, int) else size
    )
    if min(height, width) < 8:
        raise InnersightError(f"size={size}: give at least 8 pixels")
    for name, value, known in (("until", until, ("converged", "steps")), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise InnersightError(f"{name}={value!r}: choose from {', '.join(known)}")
    if rate is not None and not 0 < rate < 100:
        raise InnersightError(f"rate={rate}: give a positive number, such as 0.1")
    parameterizations[parameterize]
    shape = (model.input.channels, height, width)
    if shape != model.input.shape:
        _check_size(model, shape)
    if statistics == "photographs":
        statistics = natural.default(model.input.channels)
    elif statistics == "images":
        shown = () if images is None else read(images, model.input).images
        statistics = natural.measure(shown, model.input)
    elif isinstance(statistics, str):
        raise InnersightError(f"statistics={statistics!r}: choose photographs or images, or give natural.measure(...)")
    if len(statistics.mean) != model.input.channels:
        raise InnersightError(
            f"statistics of {len(statistics.mean)} channels, but the network takes {model.input.channels}"
        )
    backend = "inductor" if compile is True else compile or ""
    if backend and backend not in torch.compiler.list_backends(exclude_tags=()):
        known_backends = ", ".join(torch.compiler.list_backends())
        raise InnersightError(f"compile={compile!r} is no backend of torch.compile: {known_backends}")
    first = None
    if begin is not None:
        spec = replace(model.input, height=height, width=width)
        first = spec.denormalise(read_one(begin, spec, "begin").tensor(spec)[None])[0].clamp(0, 1)
    return Recipe(shape, steps, parameterize, statistics, views or Views(), until, rate, precision, backend, first)


def jobs_of(
    model: Model, targets: Sequence[Objective], recipe: Recipe, seed: int, seeds: int, variants: int, diversity: float
) -> list[Job]:
    """Return what has to be drawn, in the order of `targets` and their seeds."""
    windows = Windows(model, recipe.shape)
    jobs = []
    for target in targets:
        driven, window = target, None
        found = windows.of(target) if variants == 1 else None
        if found is not None:
            driven, window = found
        if variants > 1:
            driven = target + differing(target, diversity, *beside(model, [target]))
        jobs += [Job(target, driven, seed + number, variants, window) for number in range(seeds)]
    return jobs


def _draw(
    model: Model,
    jobs: Sequence[Job],
    recipe: Recipe,
    references: References,
    kept: "Kept | None",
    ray: str | None,
    progress: Callable[[Progress], None] | None,
) -> list[Drawn]:
    """Draw what is not kept yet, the jobs of a layer together; return all in the order of `jobs`."""
    found: dict[Job, Drawn] = {}
    if kept is not None:
        found = {job: one for job in jobs if (one := kept.get(job)) is not None}
    depth = {layer.name: i for i, layer in enumerate(survey(model))}

    def order(job: Job) -> tuple[Any, ...]:
        layers = [depth[t.layer] if t.layer is not None else len(depth) for t in job.driven.terms]
        # Whole images last: the deepest of them needs the most memory, by which the batch is measured.
        size = (job.window.height, job.window.width) if job.window else recipe.shape[1:]
        return size, max(layers)

    queue = sorted((job for job in jobs if job not in found), key=order)
    if not queue:
        return [found[job] for job in jobs]
    start, updates = time.monotonic(), sum(job.rows * job.updates(recipe) for job in queue)
    total = len(jobs)

    def tell(left: int, images: Callable[[], list[tuple[str, torch.Tensor]]]) -> None:
        if progress is not None:
            rate = (updates - left) / max(1e-9, time.monotonic() - start)
            progress(
                Progress(len(found), total, 1 - left / max(1, updates), rate, left / max(rate, 1e-9), images, model)
            )

    if ray is None:
        rows, share = batch_of(model, queue, recipe, references)
        slots = Slots(model, queue, recipe, references, rows, share)
        drawn: Generator[Drawn, None, None] = slots.run(
            lambda state: tell(state.steps_left, lambda: [(str(j.objective), p) for j, p in state.images()])
        )
    else:
        drawn = there(model, queue, recipe, ray)
    with closing(drawn):
        for one in drawn:
            found[one.job] = one
            if kept is not None:
                kept.put(one)
            if ray is not None:
                tell(sum(job.rows * job.updates(recipe) for job in queue if job not in found), list)
    tell(0, list)
    return [found[job] for job in jobs]


def _settings(
    recipe: Recipe,
    seed: int,
    seeds: int,
    variants: int,
    diversity: float,
    shown: Mapping[str, Image],
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "steps": recipe.steps,
        "until": recipe.until,
        "size": list(recipe.shape[1:]),
        "parameterize": recipe.parameterize,
        "seed": seed,
        "seeds": seeds,
        "optimizer": "Adam",
        "rate": recipe.form().rate,
        "views": asdict(recipe.views),
        "statistics": asdict(recipe.statistics),
        "precision": recipe.precision,
        "compile": recipe.compile,
    }
    if variants > 1:
        settings |= {"variants": variants, "diversity": diversity}
    return settings | {key: f"{image.name} {image.digest()}" for key, image in shown.items()}


def _read_one(model: Model, image: Any, shape: tuple[int, int, int], name: str) -> Image:
    return read_one(image, replace(model.input, height=shape[1], width=shape[2]), name)


def _check_counts(seeds: int, variants: int) -> None:
    if seeds < 1 or variants < 1:
        raise InnersightError(f"seeds={seeds} and variants={variants} must be at least 1")


def _check_size(model: Model, shape: tuple[int, int, int]) -> None:
    """Run one image of another size than the network's own."""
    try:
        with tap.untouched(model), torch.no_grad():
            model.output(torch.zeros(1, *shape, device=model.device, dtype=model.dtype))
    except tap.DEFEATED as error:
        own = f"{model.input.height}x{model.input.width}"
        raise InnersightError(
            f"size={shape[1]}: {model.name} takes only images of {own} or sizes that fit its parts ({error})"
        ) from error
