"""`train`: from a folder of images to a run folder, through interruptions."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from innersight.call import public
from innersight.errors import InnersightError, MissingExtraError
from innersight.model import InputSpec
from innersight.sources import load
from innersight.sources.run import RunCard, judged_on, read_card, write_run
from innersight.sources.weights import read_weights
from innersight.train import answers, data, split
from innersight.train.card import DEFAULTS, counts, measured, recipe_of, skipped
from innersight.train.continuation import checkpoint_of, clear
from innersight.train.interruptions import clear_about_full_disk, interruptible
from innersight.train.listing import described, scan

SEEN, SEEN_FINE = 80_000, 20_000


@dataclass(frozen=True)
class RunResult:
    """A trained network in its folder; `innersight.load(f"run:{folder}")` opens it.

    accuracy : share of the held out images, 0..1, by the stored weights. images : how many were held out.
    interval : 95% Wilson interval of the accuracy. epochs : trained. seconds : of training.
    stopped : None, or when it was ended early on request ("stopped after epoch 3").
    """

    folder: Path
    card: RunCard
    accuracy: float
    images: int
    interval: tuple[float, float]
    epochs: int
    seconds: float
    stopped: str | None = None

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        low, high = self.interval
        early = f", {self.stopped}" if self.stopped else ""
        return (
            f"accuracy {self.accuracy:.4f} on {judged_on(self.card.metrics)} (95% interval {low:.3f}-{high:.3f}), "
            f"{self.epochs} epochs in {self.seconds:.0f} s{early}: {self.folder}"
        )


@public()
def train(
    folder: Any,
    out: str | Path,
    *,
    net: str = "small",
    weights: str | None = None,
    val: Any = None,
    holdout: float = 0.1,
    epochs: int | None = None,
    size: int | None = None,
    batch: int = 64,
    lr: float | None = None,
    patience: int = 10,
    seed: int = 0,
    workers: int | None = None,
    devices: int | str | list[int] = "auto",
    strategy: str = "auto",
    nodes: int = 1,
    balance: bool = True,
    shuffle_labels: bool = False,
    robust: float = 0.0,
    telemetry_every: int = 25,
    keep_epochs: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    half: bool = False,
    cache: str | Path | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> RunResult:
    """Train a classifier on `FOLDER/CLASS/*.jpg`, or on any other labelled images, and write the run folder OUT.

    folder : a folder with a sub-folder for each class, tar files or a data set with labels; see
        `innersight.inputs.entries`.
    net : `small` or `small:WIDTH`, `timm:NAME`, `torchvision:NAME`, or `run:DIR` for the weights of an earlier run,
        which keeps that run's split: no image that it, or a run before it, learned from is held out, under any name.
    weights : None (random), "hub", or a file; see `innersight.load`.
    val : images of the same classes to test on, as `folder`; without it a stratified share `holdout` is held out.
        Copies of an image are never parted. Where images that judge were learned from, the accuracy is not said to be
        of held out images, but of how many it was.
    epochs : passes over the images; when None as many as show about 80,000 images, 12 to 60 (with learned weights
        20,000 images, 4 to 10).
    size : side of the network's input in pixels; 80 for `small`, the network's own otherwise.
    batch : images per step and process. lr : peak learning rate; 0.002, with learned weights 0.0005, when None.
    patience : epochs without a better validation accuracy after which training ends; 0 for never.
    seed : of the split, the first weights, the order and the augmentation.
    workers : threads that decode. devices, strategy, nodes : passed to Lightning's Trainer.
    balance : weigh the classes by `1 / sqrt(images)` in the loss.
    shuffle_labels : deal the labels out anew by the seed, to have a network that learned by heart what cannot be seen:
        the `against` of `innersight.trust`. No image is held out; the accuracy is that on the images it learned.
    robust : L2 size of the changes that the network is to withstand, over an image's values in 0..1; each step learns
        from the images changed against it (see `robust.hardest`), up to a fifth of the size at first and all of it
        from half of the steps on. The best epoch is one of those at the whole size. 0 for none.
    telemetry_every : steps between records; see `Telemetry`.
    keep_epochs : keep the weights of every epoch and those before the first: `run:OUT?epoch=0` and so on.
    resume : also go on with a run that was ended by Ctrl-C. An unfinished folder (no run.json) is gone on with anyway
        when the arguments are the same. overwrite : begin anew in a folder that holds a run.
    half : store the weights as float16 (the accuracy stated is theirs).
    cache : folder of the decoded images; see `data.decode`. progress : show a bar; when None if stderr is a terminal.
    say : gets every message.

    On the CPU the same arguments on the same machine, with the same library versions and number of threads, give the
    same weights, also after an interruption; GPUs add in varying order.

    Ctrl-C ends after the current step and the best epoch so far becomes a usable run; before the end of the first epoch
    there is none, and KeyboardInterrupt is raised. Raises InnersightError for folders, arguments and networks that
    cannot be used, an infinite loss, and a full disk (the last checkpoint stays); without lightning, MissingExtraError.
    """
    given = {
        key: str(value) if isinstance(value, Path) else value for key, value in locals().items() if key in DEFAULTS
    }
    given["val"] = None if val is None else described(val)
    _require_lightning()
    _check(given)
    out, main = Path(out), _is_first_process()
    say = say if main else _mute
    with clear_about_full_disk(out), interruptible(say) as asked_to_stop:
        checkpoint = checkpoint_of(out, given, resume=resume, overwrite=overwrite, main=main, say=say)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            return _train(
                folder, val, out, given, checkpoint, asked_to_stop,
                trainer={"devices": devices, "strategy": strategy, "nodes": nodes}, overwrite=overwrite,
                progress=progress, workers=workers, cache=cache, main=main, say=say,
            )  # fmt: skip


def _train(
    given_images: Any,
    val: Any,
    out: Path,
    given: dict[str, Any],
    checkpoint: Path | None,
    asked_to_stop: Callable[[], bool],
    *,
    trainer: dict[str, Any],
    overwrite: bool,
    progress: bool | None,
    workers: int | None,
    cache: str | Path | None,
    main: bool,
    say: Callable[[str], None],
) -> RunResult:
    from innersight.train import loop

    source, weights, spec, earlier = _source(given)
    fine = weights is not None
    reading: dict[str, Any] = {"cache": cache, "workers": workers, "say": say}
    images = data.drop_empty(data.decode(scan(given_images), spec, **reading))
    if given["shuffle_labels"]:
        images = data.shuffled(images, given["seed"])
    history = split.history_of(earlier, weights, source)
    judges, parts = _split(images, val, given, spec, reading, history)
    training, held_out = parts.training, parts.held_out
    images = replace(images, notes=(*images.notes, *parts.notes))
    judges = images if given["val"] is None else judges
    task = loop.Task(
        net=_build(source, weights, len(images.labels), spec, given["seed"], fine),
        spec=spec,
        images=images,
        training=training,
        judges=judges,
        held_out=held_out,
        weights=data.class_weights(images.targets[training], len(images.labels), balance=given["balance"]),
        epochs=given["epochs"] or _epochs(len(training), fine),
        batch=given["batch"],
        lr=given["lr"] or (5e-4 if fine else 2e-3),
        patience=given["patience"],
        seed=given["seed"],
        fine=fine,
        every=given["telemetry_every"],
        keep_epochs=given["keep_epochs"],
        robust=given["robust"],
        arguments=given,
    )
    for line in _report(task, parts.doubt):
        say(line)
    if main and overwrite:
        clear(out)
    if main:
        split.keep(out, parts, images, judges, history, go_on=checkpoint is not None)
    reached, stopped, device = loop.fit(
        task,
        out,
        checkpoint=checkpoint,
        asked_to_stop=asked_to_stop,
        progress=_terminal() if progress is None else progress,
        say=say,
        **trainer,
    )
    if not reached.best:
        say("stopped before the first epoch was complete: there are no weights to keep")
        raise KeyboardInterrupt
    note = f"stopped after epoch {reached.epochs}" if stopped else None
    task.net.load_state_dict(read_weights(out / "checkpoints" / "best.safetensors"))
    if given["half"]:
        _round_to_half(task.net)
    batches = data.Batches(judges, held_out, size=given["batch"])
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
        write_run(out, task.net, card, half=given["half"])
        if stopped:
            say(f"{note}; the best epoch so far is a usable run, and resume=True (--resume) goes on from here")
    return RunResult(
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
    """Tell whether this is the process that speaks and writes; Lightning may start more, on this and other machines."""
    from lightning.pytorch.utilities import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") == "0"


def _check(given: dict[str, Any]) -> None:
    for name in ("epochs", "size", "batch", "telemetry_every"):
        if given[name] is not None and given[name] < 1:
            raise InnersightError(f"{name}={given[name]}: give a number of 1 or more")
    if given["patience"] < 0 or given["seed"] < 0:
        raise InnersightError(f"patience={given['patience']} and seed={given['seed']} are numbers of 0 or more")
    if given["lr"] is not None and not (math.isfinite(given["lr"]) and given["lr"] > 0):
        raise InnersightError(f"lr={given['lr']}: give a learning rate above 0, such as 0.002")
    if not (math.isfinite(given["robust"]) and given["robust"] >= 0):
        raise InnersightError(f"robust={given['robust']}: give an L2 size of 0 or more, such as 2 at 112 px")
    if given["shuffle_labels"] and given["val"] is not None:
        raise InnersightError("shuffle_labels holds no images out: leave out val")


def _source(given: dict[str, Any]) -> tuple[str, str | None, InputSpec, Path | None]:
    """Return the architecture, its weights as `load` takes them, its input contract, and the run they come from."""
    source, weights, earlier = str(given["net"]), given["weights"], None
    if source.startswith("run:"):
        folder = Path(source.removeprefix("run:"))
        card = read_card(folder)
        if weights is None:
            earlier, weights = folder, str(folder / "weights.safetensors")
        source, spec = card.net, card.input
    else:
        source = {"small": "small:32"}.get(source, source)
        spec = load(source, device="cpu").input
    if given["size"] is not None:
        spec = replace(spec, height=given["size"], width=given["size"])
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
    given: dict[str, Any],
    spec: InputSpec,
    reading: dict[str, Any],
    history: split.History | None,
) -> tuple[data.TrainingImages, split.Split]:
    if given["shuffle_labels"]:
        return images, split.learned(images)
    if val is None:
        return images, split.divide(images, history, holdout=given["holdout"], seed=given["seed"])
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
        handled = f"an image {weigh}" if task.arguments["balance"] else "all weigh the same (balance=False)"
        yield f"classes are uneven, {most[0]} {most[1]:,} to {least[0]} {least[1]:,}: {handled}"
    number = sum(p.numel() for p in task.net.parameters())
    yield (
        f"{task.arguments['net']} ({number:,} parameters) at {task.spec.width}x{task.spec.height}, "
        f"up to {task.epochs} epochs of {max(1, learn // task.batch)} steps"
    )
    if task.robust:
        yield f"robust to changes of L2 size {task.robust:g}: each step takes two to three times as long"


def _notes(images: data.TrainingImages, judges: data.TrainingImages) -> tuple[str, ...]:
    return images.notes + (judges.notes if judges is not images else ())


def _round_to_half(net: nn.Module) -> None:
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())


def _terminal() -> bool:
    import sys

    return sys.stderr.isatty()


def _mute(message: str) -> None:
    """Say nothing: another process speaks."""
