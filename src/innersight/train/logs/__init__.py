"""Logs of trainings that other programs wrote: read into the form of a training record, one file per format."""

from innersight.train.logs.log import TrainingLog, log_formats
from innersight.train.logs.reading import read_log

__all__ = ["TrainingLog", "log_formats", "read_log"]
