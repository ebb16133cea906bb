"""`train`: from a folder of images to a run folder, through interruptions."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from innersight.call import public
from innersight.errors import InnersightError, MissingExtraError
from innersight.input_spec import InputSpec
from innersight.options import changed
from innersight.sources import load
from innersight.sources.run_card import RunCard, read_card, write_run
from innersight.sources.weights import read_weights
from innersight.train import answers, data, split
from innersight.train.card import counts, measured, recipe_of, skipped
from innersight.train.continuation import checkpoint_of, clear
from innersight.train.interruptions import clear_about_full_disk, interruptible
from innersight.train.listing import described, scan
from innersight.train.options import TrainOptions
from innersight.train.result import TrainingRun

SEEN, SEEN_FINE = 80_000, 20_000


@public()
def train(
    images: Any,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    val: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    bar: bool | None = None,
    report: Callable[[str], None] = print,
    **changes: Any,
) -> TrainingRun:
    """Train a classifier on labelled images, and write a run folder that `innersight.load("run:OUT")` opens.

    Parameters
    ----------
    images : images
        A folder `FOLDER/CLASS/*.jpg`, tar files or a data set with labels, see `innersight.inputs.entries`.
    out : path
        The run folder.
    options : TrainOptions, optional
        How to train; the defaults when None.
    val : images, optional
        Validation images of the same classes, in the same forms. A share `holdout` of every class is held out when
        None. Copies of an image stay on the same side. Where validation images were trained on, the accuracy names how
        many instead of calling them held out.
    resume : bool
        Resume a run that Ctrl-C ended. An unfinished folder (without run.json) is resumed anyway when the options are
        the same.
    overwrite : bool
        Start anew in a folder that holds a run.
    bar : bool, optional
        Show a progress bar; when None if the error stream is a terminal.
    report : callable
        Called with each message, one sentence or line.
    **changes
        Fields of `TrainOptions` that differ from `options`, such as `epochs=3`.

    Returns
    -------
    TrainingRun
        The folder, and how accurate the stored weights are.

    Raises
    ------
    InnersightError
        For images, options and networks that cannot be used, a loss that is not finite, and a full disk (the last
        checkpoint stays).
    MissingExtraError
        Without lightning.
    KeyboardInterrupt
        After Ctrl-C before the end of the first epoch. Later the best epoch so far becomes a usable run.

    Notes
    -----
    On the CPU the same arguments on the same machine, with the same library versions and number of threads, give the
    same weights, also after an interruption; GPUs add in varying order.

    Examples
    --------
    >>> import innersight as ins
    >>> run = ins.train("images/", "run/", epochs=3)  # doctest: +SKIP
    >>> model = ins.load("run:run/")  # doctest: +SKIP

    """
    options = changed("train", TrainOptions, options, changes, _INPUTS)
    given = {"val": None if val is None else described(val), **options.recipe()}
    _require_lightning()
    if options.shuffle_labels and val is not None:
        raise InnersightError("shuffle_labels holds no images out: leave out val")
    out, main = Path(out), _is_first_process()
    report = report if main else _mute
    with clear_about_full_disk(out), interruptible(report) as asked_to_stop:
        checkpoint = checkpoint_of(out, given, resume=resume, overwrite=overwrite, main=main, report=report)
        if bar is None:
            bar = sys.stderr.isatty()
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            return _train(
                images, val, out, options, given, checkpoint, asked_to_stop,
                overwrite=overwrite, bar=bar, main=main, report=report,
            )  # fmt: skip


_INPUTS = ("images", "out", "val", "resume", "overwrite", "bar", "report")


def _train(
    given_images: Any,
    val: Any,
    out: Path,
    options: TrainOptions,
    given: dict[str, Any],
    checkpoint: Path | None,
    asked_to_stop: Callable[[], bool],
    *,
    overwrite: bool,
    bar: bool,
    main: bool,
    report: Callable[[str], None],
) -> TrainingRun:
    from innersight.train import loop

    source, weights, spec, earlier = _source(options)
    fine = weights is not None
    reading: dict[str, Any] = {"cache": options.cache, "workers": options.workers, "report": report}
    images = data.drop_empty(data.decode(scan(given_images), spec, **reading))
    if options.shuffle_labels:
        images = data.shuffled(images, options.seed)
    history = split.history_of(earlier, weights, source)
    judges, parts = _split(images, val, options, spec, reading, history)
    training, held_out = parts.training, parts.held_out
    images = replace(images, notes=(*images.notes, *parts.notes))
    judges = images if val is None else judges
    task = loop.Task(
        net=_build(source, weights, len(images.labels), spec, options.seed, fine),
        spec=spec,
        images=images,
        training=training,
        judges=judges,
        held_out=held_out,
        weights=data.class_weights(images.targets[training], len(images.labels), balance=options.balance),
        epochs=options.epochs or _epochs(len(training), fine),
        lr=options.lr or (5e-4 if fine else 2e-3),
        fine=fine,
        options=options,
        arguments=given,
    )
    for line in _report(task, parts.doubt):
        report(line)
    if main and overwrite:
        clear(out)
    if main:
        split.keep(out, parts, images, judges, history, resumed=checkpoint is not None)
    reached, stopped, device = loop.fit(
        task, out, checkpoint=checkpoint, asked_to_stop=asked_to_stop, bar=bar, report=report
    )
    if not reached.best:
        report("stopped before the first epoch was complete: there are no weights to keep")
        raise KeyboardInterrupt
    note = f"stopped after epoch {reached.epochs}" if stopped else None
    task.net.load_state_dict(read_weights(out / "checkpoints" / "best.safetensors"))
    if options.half:
        _round_to_half(task.net)
    batches = data.Batches(judges, held_out, size=options.batch)
    confusion = answers.evaluate(task.net, spec, batches, device)
    metrics = {
        **measured(confusion, images.labels),
        "counts": {"train": counts(images, training), "val": counts(judges, held_out)},
        "class_weights": {label: round(float(w), 4) for label, w in zip(images.labels, task.weights, strict=True)},
        "epochs": reached.epochs,
        "best_epoch": reached.best["epoch"],
        "seconds": round(reached.seconds, 1),
        "stopped": note,
        "not_held_out": parts.doubt,
        "skipped": skipped(images, judges),
        "notes": list(_notes(images, judges)),
    }
    recipe = recipe_of(described(given_images), out, given, task, device)
    card = RunCard(source, images.labels, spec, metrics, recipe)
    if main:
        write_run(out, task.net, card, half=options.half)
        if stopped:
            report(f"{note}; the best epoch so far is a usable run, and resume=True (--resume) continues from here")
    return TrainingRun(
        out,
        card,
        metrics["accuracy"],
        metrics["images"],
        (metrics["interval"][0], metrics["interval"][1]),
        reached.epochs,
        metrics["seconds"],
        note,
    )


def _require_lightning() -> None:
    try:
        import lightning.pytorch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "lightning":
            raise
        raise MissingExtraError("lightning", "train") from error


def _is_first_process() -> bool:
    """Return whether this is the process that reports and writes; Lightning may start more, also on other machines."""
    from lightning.pytorch.utilities import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") == "0"


def _source(options: TrainOptions) -> tuple[str, str | None, InputSpec, Path | None]:
    """Return the architecture, its weights as `load` takes them, its input contract, and the run they come from."""
    source, earlier = options.net, None
    weights = None if options.weights is None else str(options.weights)
    if source.startswith("run:"):
        folder = Path(source.removeprefix("run:"))
        card = read_card(folder)
        if weights is None:
            earlier, weights = folder, str(folder / "weights.safetensors")
        source, spec = card.net, card.input
    else:
        source = {"small": "small:32"}.get(source, source)
        spec = load(source, device="cpu").input
    if options.size is not None:
        spec = replace(spec, height=options.size, width=options.size)
    return source, weights, spec, earlier


def _build(source: str, weights: str | None, classes: int, spec: InputSpec, seed: int, fine: bool) -> nn.Module:
    """Build the network from `seed` and try one image of the chosen size."""
    torch.manual_seed(seed)
    net = load(source, classes=classes, weights=weights, device="cpu").net
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *spec.shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InnersightError(f"{source} does not take images of {spec.width}x{spec.height}: {error}") from error
    return net


def _split(
    images: data.TrainingImages,
    val: Any,
    options: TrainOptions,
    spec: InputSpec,
    reading: dict[str, Any],
    history: split.History | None,
) -> tuple[data.TrainingImages, split.Split]:
    if options.shuffle_labels:
        return images, split.learned(images)
    if val is None:
        return images, split.divide(images, history, holdout=options.holdout, seed=options.seed)
    judges = data.decode(scan(val, labels=images.labels), spec, **reading)
    return judges, split.judged(images, judges, history)


def _epochs(images: int, fine: bool) -> int:
    return min(10, max(4, round(SEEN_FINE / images))) if fine else min(60, max(12, round(SEEN / images)))


def _report(task: Any, doubt: str | None) -> Iterator[str]:
    images, judges = task.images, task.judges
    sizes = sorted(counts(images, task.training).items(), key=lambda item: -item[1])
    most, least = sizes[0], sizes[-1]
    yield from _notes(images, judges)
    unread = skipped(images, judges)
    if unread:
        total = len(unread) + len(images.files) + (len(judges.files) if judges is not images else 0)
        yield f"{len(unread)} of {total:,} files cannot be read and are skipped (listed in run.json): {unread[0]} ..."
    learn, judge = len(task.training), len(task.held_out)
    how = "held out to judge" if doubt is None else f"to judge, {doubt}"
    yield f"{learn:,} images of {len(sizes)} classes to learn from, {judge:,} {how}"
    if most[1] > 1.5 * least[1]:
        weigh = f"weighs {float(task.weights.min()):.2f} to {float(task.weights.max()):.2f} in the loss"
        handled = f"an image {weigh}" if task.options.balance else "all weigh the same (balance=False)"
        yield f"classes are uneven, {most[0]} {most[1]:,} to {least[0]} {least[1]:,}: {handled}"
    number = sum(p.numel() for p in task.net.parameters())
    yield (
        f"{task.arguments['net']} ({number:,} parameters) at {task.spec.width}x{task.spec.height}, "
        f"up to {task.epochs} epochs of {max(1, learn // task.options.batch)} steps"
    )
    if task.options.robust:
        yield f"robust to changes of L2 size {task.options.robust:g}: each step takes two to three times as long"


def _notes(images: data.TrainingImages, judges: data.TrainingImages) -> tuple[str, ...]:
    return images.notes + (judges.notes if judges is not images else ())


def _round_to_half(net: nn.Module) -> None:
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())


def _mute(message: str) -> None:
    """Report nothing: another process does."""
