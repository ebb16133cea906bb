"""Train a classifier on a folder of images, and watch any network learn (extra `train`)."""

import importlib
from typing import TYPE_CHECKING, Any

from innersight.errors import MissingExtraError
from innersight.train.fixed import FixedImages
from innersight.train.options import TrainOptions
from innersight.train.result import TrainingRun
from innersight.train.session import train
from innersight.train.telemetry import Telemetry

if TYPE_CHECKING:
    from innersight.train.callback import TelemetryCallback
    from innersight.train.keras_callback import KerasTelemetryCallback

__all__ = [
    "FixedImages",
    "KerasTelemetryCallback",
    "Telemetry",
    "TelemetryCallback",
    "TrainOptions",
    "TrainingRun",
    "train",
]

# Their modules import the library that they are callbacks of: module, library and extra.
_CALLBACKS = {
    "TelemetryCallback": ("callback", "lightning", "train"),
    "KerasTelemetryCallback": ("keras_callback", "keras", "keras"),
}


def __getattr__(name: str) -> Any:
    if name not in _CALLBACKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, library, extra = _CALLBACKS[name]
    try:
        return getattr(importlib.import_module(f"innersight.train.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(library, extra) from error
