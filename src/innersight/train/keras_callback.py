"""Telemetry for a training run by Keras 3, on any backend."""

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from innersight.errors import InnersightError
from innersight.sources.origins.keras import library, named_layers
from innersight.train.fixed import FixedImages
from innersight.train.recording import Recording
from innersight.train.records import measured

# Whoever imports Keras first chooses its backend; where none is chosen and the default one is missing, it is torch.
_chosen = "keras" in sys.modules or "KERAS_BACKEND" in os.environ or find_spec("tensorflow") is not None
keras: Any = importlib.import_module("keras") if _chosen else library()


class KerasTelemetryCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Records a Keras network in training, as `Telemetry` does; `innersight study ... --log FOLDER` shows the record.

    Parameters
    ----------
    folder, every, tensorboard
        As `Telemetry` takes them; the layers are recorded at every `every`-th batch.
    images : FixedImages, optional
        Images of which heatmaps are recorded before the first and after every epoch, where Keras runs on torch:
        `FixedImages(innersight.load(network), ...)` of the network that is trained, which is copied.

    Raises
    ------
    InnersightError
        For an interval below 1, and when the training begins for a network without weights of two or more dimensions,
        and for images of another network.
    MissingExtraError
        Without tensorboard.

    Notes
    -----
    Import Keras first, on the backend of your choice. Loss and metrics are what Keras reports at the end of each
    epoch: means over its batches in training, `train/loss`, and over the validation data, `val/loss`. Gradients are
    seen where Keras runs on torch, and null elsewhere; dead units are null: in Keras an activation is a function, not
    a layer. Training is bit for bit the one without the callback.

    Examples
    --------
    >>> from innersight.train import KerasTelemetryCallback
    >>> import keras
    >>> callback = KerasTelemetryCallback(every=2)
    >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="top")])
    >>> net.compile("sgd", "mse")
    >>> import numpy
    >>> _ = net.fit(numpy.ones((8, 4)), numpy.ones((8, 2)), batch_size=2, verbose=0, callbacks=[callback])
    >>> callback.data()["layers"]["top"]["step"]
    [2, 4]

    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        every: int = 25,
        tensorboard: bool = True,
        images: FixedImages | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise InnersightError(f"every={every}: the interval between records is 1 step or more")
        self._recording = Recording(folder, every=every, tensorboard=tensorboard, images=images)
        self._layers: dict[str, list[Any]] = {}
        self._before: dict[str, list[Tensor]] = {}
        self._epochs = 0

    def data(self) -> dict[str, Any]:
        """Return what `telemetry.json` holds, see `Telemetry.data`."""
        return self._recording.data()

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the layers, and record the images."""
        self._layers = _weighted(self.model)
        if not self._layers:
            raise InnersightError(f"the Keras network {self.model.name} has no layer with weights to record")
        self._record_images()
        self._prepare()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record the layers, where this batch is due."""
        recording = self._recording
        recording.step += 1
        if recording.step % recording.every == 0:
            _ = self.model  # with JAX, asking for it brings the variables up to date
            for name, variables in self._layers.items():
                row, counts = measured(
                    [_values(one) for one in variables], _gradients(variables), self._before.get(name), None
                )
                recording.keep(name, [float(value) for value in row], counts)
            recording.recorded()
        self._prepare()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note what Keras reports of the epoch, record the images, and write the files."""
        self._epochs += 1
        found = {}
        for name, value in (logs or {}).items():
            plain = (
                "lr" if name == "learning_rate" else f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}"
            )
            found[plain] = float(value)
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is not None:
            found.setdefault("lr", float(_values(rate)))
        self._recording.note(found)
        self._record_images()
        self._recording.write()

    def on_train_end(self, logs: Any = None) -> None:
        """Write the files and close them."""
        self._before.clear()
        self._recording.close()

    def _prepare(self) -> None:
        """Keep the weights before a step that is recorded."""
        self._before.clear()
        if (self._recording.step + 1) % self._recording.every == 0:
            _ = self.model
            self._before = {name: [_values(one) for one in own] for name, own in self._layers.items()}

    def _record_images(self) -> None:
        images = self._recording.images
        if images is None:
            return
        copied = getattr(images.model.net, "network", None)
        shapes = [tuple(one.shape) for one in getattr(copied, "weights", ())]
        if shapes != [tuple(one.shape) for one in self.model.weights]:
            raise InnersightError(
                f"the images are of another network than {self.model.name}: give "
                "FixedImages(innersight.load(network), ...)"
            )
        for own, live in zip(copied.weights, self.model.weights, strict=True):  # type: ignore[union-attr]
            own.assign(live.value)
        self._recording.record_images(self._epochs)


def _weighted(network: Any) -> dict[str, list[Any]]:
    """Return the trainable variables of two or more dimensions that a layer itself holds, by the layer's name."""
    found = {}
    for name, layer in named_layers(network):
        inner = {id(one) for _, below in named_layers(layer) for one in below.weights}
        own = [one for one in layer.trainable_weights if id(one) not in inner and len(one.shape) >= 2]
        if own:
            found[name] = own
    return found


def _values(variable: Any) -> Tensor:
    value = variable.value if hasattr(variable, "value") else variable
    if isinstance(value, Tensor):
        return value.detach().float().cpu().clone()
    return torch.from_numpy(np.array(keras.ops.convert_to_numpy(value), dtype=np.float32))


def _gradients(variables: list[Any]) -> list[Tensor]:
    """Return the gradients of the step just made, which torch leaves on the variables; [] on other backends."""
    if keras.backend.backend() != "torch":
        return []
    return [one.value.grad.detach().cpu() for one in variables if one.value.grad is not None]
