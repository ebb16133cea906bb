"""Telemetry for a training run by Lightning."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from innersight.train.fixed import FixedImages
from innersight.train.telemetry import Telemetry


class TelemetryCallback(pl.Callback):  # type: ignore[misc]
    """Records a LightningModule in training; see `Telemetry` for what is recorded and where.

    Parameters
    ----------
    folder, every, tensorboard
        As `Telemetry` takes them.
    net : nn.Module, optional
        The network to record; the whole LightningModule when None.
    images : FixedImages, optional
        Images of which heatmaps are recorded before the first and after every epoch, of the network
        `FixedImages(innersight.load(NET), ...)` was made with. Not where the weights are spread over devices (FSDP,
        DeepSpeed).

    Notes
    -----
    Logged metrics whose names begin with "val" are kept too. Only the first process records. Checkpoints hold the step
    reached and all records, and a resumed run continues from there.

    Examples
    --------
    >>> import lightning.pytorch as pl
    >>> from innersight.train import TelemetryCallback
    >>> callback = TelemetryCallback(every=50)
    >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False)
    >>> callback in trainer.callbacks
    True

    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        every: int = 25,
        tensorboard: bool = True,
        net: nn.Module | None = None,
        images: FixedImages | None = None,
    ) -> None:
        self._folder, self._every, self._tensorboard, self._net = folder, every, tensorboard, net
        self._images = images
        self._resume_at = 0
        self._state: dict[str, Any] | None = None
        self.telemetry: Telemetry | None = None

    @property
    def refusal(self) -> str:
        """Why no heatmaps of the images were recorded; empty where they were, or none were asked for."""
        return "" if self._images is None else self._images.refusal

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, or resume after the step of the checkpoint."""
        if trainer.is_global_zero:
            net = self._net if self._net is not None else pl_module
            whole = isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
            options: dict[str, Any] = {"tensorboard": self._tensorboard, "resume_at": self._resume_at}
            options["images"] = self._images if whole else None
            self.telemetry = Telemetry(net, self._folder, every=self._every, **options)
            if self._state is not None:
                self.telemetry.restore(self._state)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Prepare for the first step, now that the weights are those of the checkpoint."""
        if self.telemetry is not None:
            self.telemetry.prepare()
            self.telemetry.record_images(trainer.current_epoch)

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
        """Record the images, and write the files once per epoch."""
        if self.telemetry is not None:
            self.telemetry.record_images(trainer.current_epoch + 1)
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

    def state_dict(self) -> dict[str, Any]:
        """Return the step reached, and what was recorded until then: the file may be further when a run is killed."""
        if self.telemetry is None:
            return {"step": self._resume_at, "recorded": self._state}
        return {"step": self.telemetry.steps, "recorded": self.telemetry.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the step to resume from."""
        self._resume_at, self._state = int(state_dict["step"]), state_dict["recorded"]
