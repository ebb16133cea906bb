"""What follows every epoch: what is kept of it, and whether training ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from innersight.sources.run_card import epoch_file
from innersight.storage.writing import write_tensors


class Keeper(Checkpoint):  # type: ignore[misc]
    """Keeps the best weights and the last state after every epoch, each by renaming a complete file.

    first : the epoch (from 1) that any earlier one gives way to as the best, whatever their accuracies; 0 for none.
    """

    def __init__(self, folder: Path, report: Callable[[str], None], *, every_epoch: bool, first: int) -> None:
        self._folder, self._report, self._every_epoch, self._first = folder, report, every_epoch, first

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights before the first epoch, when asked."""
        if self._every_epoch and trainer.is_global_zero and not pl_module.reached.epochs:
            self._keep(pl_module, epoch_file(0))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was reached, keep it, and report it."""
        pl_module.check_finite()
        reached, metrics = pl_module.reached, trainer.callback_metrics
        accuracy, loss = float(metrics["val/accuracy"]), float(metrics["val/loss"])
        reached.epochs = trainer.current_epoch + 1
        better = (
            not reached.best
            or reached.best["epoch"] < self._first <= reached.epochs
            or (accuracy, -loss) > (reached.best["accuracy"], -reached.best["loss"])
        )
        if better:
            reached.best = {"epoch": reached.epochs, "accuracy": accuracy, "loss": loss}
        if trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            if better:
                self._keep(pl_module, "best.safetensors")
            if self._every_epoch:
                self._keep(pl_module, epoch_file(reached.epochs))
        with _whole(self._folder / "last.ckpt", rename=trainer.is_global_zero) as partial:
            trainer.save_checkpoint(partial)
        mark = "  best so far" if better else ""
        self._report(
            f"epoch {reached.epochs}/{trainer.max_epochs}  val accuracy {accuracy:.4f}  val loss {loss:.3f}"
            f"  {reached.seconds:.0f} s{mark}"
        )

    def _keep(self, learner: Any, name: str) -> None:
        write_tensors(self._folder / name, learner.net.state_dict())


class LateStopping(EarlyStopping):  # type: ignore[misc]
    """Early stopping that looks at no epoch before `first` (from 1)."""

    def __init__(self, monitor: str, *, first: int, **options: Any) -> None:
        super().__init__(monitor, check_on_train_epoch_end=True, **options)
        self._first = first

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the epoch, if it counts."""
        if trainer.current_epoch + 1 >= self._first:
            super().on_train_epoch_end(trainer, pl_module)


@contextmanager
def _whole(path: Path, *, rename: bool = True) -> Iterator[Path]:
    """Give a path to write to, and rename it to `path` when it is complete; nothing half written stays."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        if rename:
            partial.replace(path)
    finally:
        if rename:
            partial.unlink(missing_ok=True)
