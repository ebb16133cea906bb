"""The training loop: what one step, one validation and one checkpoint do; Lightning runs them."""

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from innersight.errors import InnersightError
from innersight.image import as_image
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.train.answers import logits_of, score, tally, to_float, training_format
from innersight.train.augment import augment
from innersight.train.callback import TelemetryCallback
from innersight.train.data import Batches, TrainingImages
from innersight.train.epochs import Keeper, LateStopping
from innersight.train.fixed import FixedImages
from innersight.train.options import TrainOptions
from innersight.train.robust import first_whole, hardest, radius_at

SMOOTHING = 0.1
DECAY = 0.05
WARM = 0.2


class Stopped(Exception):  # noqa: N818
    """Raised inside the loop to end it where it is, after Ctrl-C."""


@dataclass
class Progression:
    """What a training run has reached; plain values, kept in every checkpoint.

    best : of the epoch with the highest validation accuracy (ties: lowest loss): "epoch" (from 1), "accuracy", "loss".
        Epochs whose changes had the whole size of `robust` go before all others.
    seconds : spent in the loop, over all its sessions.
    """

    epochs: int = 0
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Task:
    """One training run, decided.

    training, held_out : positions in `images` and `judges`.
    weights : (classes,) of the loss. lr : the schedule's peak. fine : the network comes with weights that were learned.
    epochs : to train, at most. options : as given; what they leave open is decided here. arguments : in every
    checkpoint, to recognise the run.
    """

    net: nn.Module
    spec: InputSpec
    images: TrainingImages
    training: np.ndarray
    judges: TrainingImages
    held_out: np.ndarray
    weights: Tensor
    epochs: int
    lr: float
    fine: bool
    options: TrainOptions
    arguments: dict[str, Any]


def fit(
    task: Task,
    out: Path,
    *,
    checkpoint: Path | None,
    asked_to_stop: Callable[[], bool],
    bar: bool,
    report: Callable[[str], None],
) -> tuple[Progression, bool, torch.device]:
    """Train `task.net` in place and keep `checkpoints/{last.ckpt,best.safetensors}` and the telemetry in OUT.

    checkpoint : resume from here. asked_to_stop : looked at before every step; True ends the loop.
    Returns what was reached, whether it was ended early on request, and the device.
    Raises InnersightError when the loss is not finite; OSError when a file cannot be written; SystemExit on SIGTERM.
    """
    learner, options = Learner(task, asked_to_stop), task.options
    telemetry = TelemetryCallback(out, every=options.telemetry_every, net=task.net, images=_fixed(task))
    callbacks: list[Any] = [telemetry, _Bar()] if bar else [telemetry]
    first = first_whole(task.epochs) if options.robust else 0
    if options.patience:
        judged: dict[str, Any] = {"monitor": "val/accuracy", "mode": "max", "patience": options.patience}
        callbacks.append(LateStopping(first=first, **judged) if options.robust else EarlyStopping(**judged))
    callbacks.append(Keeper(out / "checkpoints", report, every_epoch=options.keep_epochs, first=first))
    stopped = False
    with _quiet(), torch.random.fork_rng(range(torch.cuda.device_count())):
        trainer = pl.Trainer(
            max_epochs=task.epochs,
            devices=options.devices,
            strategy=options.strategy,
            num_nodes=options.nodes,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=out,
        )
        try:
            trainer.fit(learner, ckpt_path=checkpoint)
        except Stopped:
            stopped = True
        except SIGTERMException as error:
            report(f"terminated after epoch {learner.reached.epochs}: the same command resumes from there")
            raise SystemExit(143) from error
        device = trainer.strategy.root_device
    if telemetry.refusal:
        report(f"no heatmaps were recorded: {telemetry.refusal}")
    return learner.reached, stopped, device


class Learner(pl.LightningModule):  # type: ignore[misc]
    """The network with its loss, schedule and images, as Lightning wants it."""

    def __init__(self, task: Task, asked_to_stop: Callable[[], bool]) -> None:
        super().__init__()
        self.net = task.net.to(memory_format=training_format(task.net, task.spec.shape))
        self.reached = Progression()
        self._task, self._asked_to_stop = task, asked_to_stop
        self._steps_per_epoch = 1
        self._since = 0.0
        self._finite: Tensor | None = None
        self._tally: list[Tensor] = []

    def train_dataloader(self) -> Batches:
        """Batches of training images for this process."""
        task = self._task
        options: dict[str, Any] = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        batches = Batches(
            task.images,
            task.training,
            size=task.options.batch,
            seed=task.options.seed,
            epoch=lambda: self.current_epoch,
            **options,
        )
        self._steps_per_epoch = len(batches)
        return batches

    def val_dataloader(self) -> Batches:
        """Batches of held out images for this process."""
        options: dict[str, Any] = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        return Batches(self._task.judges, self._task.held_out, size=self._task.options.batch, **options)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW without decay of biases and norms; the new head of a fine-tuned network learns ten times as fast."""
        head = _head(self.net) if self._task.fine else None
        groups = []
        for in_head in (False, True):
            for decayed in (True, False):
                members = [
                    p
                    for name, p in self.net.named_parameters()
                    if (p.ndim >= 2) == decayed and (head is not None and name.startswith(f"{head}.")) == in_head
                ]
                scale = 10.0 if in_head else 1.0
                if members:
                    groups.append({"params": members, "weight_decay": DECAY if decayed else 0.0, "scale": scale})
        return torch.optim.AdamW(groups, lr=self._task.lr, betas=(0.9, 0.99))

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._since = time.monotonic() - self.reached.seconds
        # Lightning leaves every module in the mode it came in, and networks come in evaluation mode.
        self.net.train()
        self._weights = self._task.weights.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Seed what the network itself draws (dropout) from (seed, epoch, process): a resumed run draws the same."""
        torch.manual_seed(_number(self._task.options.seed, self.current_epoch, self.global_rank, 1))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """End the loop when asked to; set the step's learning rate."""
        if self._asked_to_stop():
            raise Stopped
        rate = learning_rate(self.global_step, self._steps(), peak=self._task.lr)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["scale"]

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """End the loop when asked to."""
        if self._asked_to_stop():
            raise Stopped

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the weighted, smoothed cross-entropy and the accuracy of one changed batch."""
        pixels, targets = batch
        changed = augment(to_float(pixels), self._generator(2, batch_idx))
        if self._task.options.robust:
            radius = radius_at(self.global_step, self._steps(), whole=self._task.options.robust)
            changed = hardest(self.net, self._task.spec, changed, targets, radius, self._generator(3, batch_idx))
        logits = logits_of(self.net, self._task.spec.normalise(changed))
        loss = functional.cross_entropy(logits, targets, weight=self._weights, label_smoothing=SMOOTHING)
        self._watch(loss, batch_idx)
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == targets).float().mean()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the confusion matrix."""
        self._tally.append(tally(self.net, self._task.spec, *batch))

    def on_validation_epoch_end(self) -> None:
        """Add up over the processes and log accuracy and loss."""
        sums = torch.stack(self._tally).sum(0)
        self._tally.clear()
        if self.trainer.world_size > 1:
            sums = self.all_gather(sums).sum(0)
        accuracy, loss = score(sums)
        self.log_dict({"val/accuracy": accuracy, "val/loss": loss})

    def check_finite(self) -> None:
        """Raise InnersightError when a loss since the last call was not finite."""
        if self._finite is not None and not bool(self._finite):
            raise InnersightError(
                f"the loss became infinite or not a number by step {self.global_step + 1} "
                f"(epoch {self.current_epoch + 1}): train with a smaller lr than {self._task.lr:g}; "
                "checkpoints/last.ckpt of the epoch before is kept"
            )
        self._finite = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what was reached, in plain values: a checkpoint is read without unpickling objects."""
        self.reached.seconds = time.monotonic() - self._since
        checkpoint["innersight"] = {"arguments": self._task.arguments, "reached": copy.deepcopy(vars(self.reached))}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was reached."""
        self.reached = Progression(**checkpoint["innersight"]["reached"])

    def _steps(self) -> int:
        return self._task.epochs * self._steps_per_epoch

    def _generator(self, purpose: int, batch_idx: int) -> torch.Generator:
        """Return random numbers of one batch for one purpose: a resumed run draws the same."""
        number = _number(self._task.options.seed, self.current_epoch, self.global_rank, purpose, batch_idx)
        return torch.Generator().manual_seed(number)

    def _watch(self, loss: Tensor, batch_idx: int) -> None:
        finite = torch.isfinite(loss.detach())
        self._finite = finite if self._finite is None else self._finite & finite
        # On an accelerator every look costs a wait for the device.
        if loss.device.type == "cpu" or batch_idx % 16 == 15:
            self.check_finite()


def _fixed(task: Task) -> FixedImages | None:
    """Return held out images for heatmaps, in turn of every class, or None where none are asked for."""
    numbers = task.judges.targets[task.held_out]
    by_class = np.argsort(numbers, kind="stable")
    first = np.searchsorted(numbers[by_class], numbers[by_class])
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[by_class] = np.arange(len(numbers)) - first
    chosen = np.lexsort((numbers, rank))[: task.options.heatmaps]
    if not len(chosen):
        return None
    at = task.held_out[chosen]
    images = [
        as_image(np.array(task.judges.pixels[task.judges.rows[n]]).squeeze(), name=Path(task.judges.files[n]).name)
        for n in at
    ]
    # The pixels are what the network sees, already cropped.
    spec = replace(task.spec, fit="squash")
    model = Model(task.net, spec, task.judges.labels, "the network in training", task.options.net)
    return FixedImages(model, images, [int(number) for number in task.judges.targets[at]])


def learning_rate(step: int, steps: int, *, peak: float) -> float:
    """Return the rate of step 0..steps-1: linear from peak/25 over the first fifth, then half a cosine to 0.

    A variant of the one-cycle policy (Smith 2018, https://arxiv.org/abs/1803.09820).
    """
    warm = max(1.0, WARM * steps)
    if step < warm:
        return peak * (0.04 + 0.96 * step / warm)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1.0, steps - warm))))


class _Bar(pl.Callback):  # type: ignore[misc]
    """One line that shows where the training is."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(self._title(trainer), total=trainer.num_training_batches)
        self._progress.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.is_global_zero:
            self._progress.advance(self._task)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._progress.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if hasattr(self, "_progress"):
            self._progress.stop()

    def _title(self, trainer: Any) -> str:
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        if "val/accuracy" in trainer.callback_metrics:
            title += f"  val accuracy {float(trainer.callback_metrics['val/accuracy']):.4f}"
        return title


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's hints and advertisements off the terminal; its errors stay."""
    loggers = [
        logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric", "pytorch_lightning")
    ]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(\..*)?")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _head(net: nn.Module) -> str:
    """Return the name of the last linear layer or convolution: the one replaced for the new classes."""
    names: list[str] = [name for name, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return names[-1]


def _number(*parts: int) -> int:
    """Return a seed that is a function of all `parts`."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
