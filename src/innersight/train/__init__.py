"""Train a classifier on a folder of images, and watch any network learn (extra `train`)."""

from typing import TYPE_CHECKING, Any

from innersight.errors import MissingExtraError
from innersight.train.options import TrainOptions
from innersight.train.result import TrainingRun
from innersight.train.session import train
from innersight.train.telemetry import Telemetry

if TYPE_CHECKING:
    from innersight.train.callback import TelemetryCallback

__all__ = ["Telemetry", "TelemetryCallback", "TrainOptions", "TrainingRun", "train"]


def __getattr__(name: str) -> Any:
    if name != "TelemetryCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from innersight.train.callback import TelemetryCallback
    except ModuleNotFoundError as error:
        raise MissingExtraError("lightning", "train") from error
    return TelemetryCallback
