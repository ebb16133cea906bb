"""Telemetry for a training run by Lightning."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import nn

from innersight.train.telemetry import Telemetry


class TelemetryCallback(pl.Callback):  # type: ignore[misc]
    """Records a LightningModule in training; see `Telemetry` for what is recorded and where.

    Logged metrics whose names begin with "val" are kept too. The first process alone records. In a checkpoint the step
    reached is kept, and a resumed run goes on from there.

    net : the network to look into; the whole LightningModule when not given.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        every: int = 25,
        tensorboard: bool = True,
        net: nn.Module | None = None,
    ) -> None:
        self._folder, self._every, self._tensorboard, self._net = folder, every, tensorboard, net
        self._resume_at = 0
        self.telemetry: Telemetry | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, or go on after the step of the checkpoint."""
        if trainer.is_global_zero:
            net = self._net if self._net is not None else pl_module
            options: dict[str, Any] = {"tensorboard": self._tensorboard, "resume_at": self._resume_at}
            self.telemetry = Telemetry(net, self._folder, every=self._every, **options)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note the step; `outputs` is what `training_step` returned, a loss or a mapping with "loss" and "accuracy"."""
        if self.telemetry is None or outputs is None:
            return
        values = outputs if isinstance(outputs, dict) else {"loss": outputs}
        lr = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None
        self.telemetry.step(values["loss"], accuracy=values.get("accuracy"), lr=lr)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the validation metrics."""
        if self.telemetry is not None and not trainer.sanity_checking:
            logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val")}
            self.telemetry.log(logged)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the file once per epoch."""
        if self.telemetry is not None:
            self.telemetry.write()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write and close."""
        if self.telemetry is not None:
            self.telemetry.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave no hook behind, and write what was recorded unless the failure was one of writing."""
        if self.telemetry is None:
            return
        self.telemetry.release()
        if not isinstance(exception, OSError):
            self.telemetry.close()

    def state_dict(self) -> dict[str, int]:
        """Return the step reached."""
        return {"step": self.telemetry.steps if self.telemetry is not None else self._resume_at}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the step to go on from."""
        self._resume_at = int(state_dict["step"])
