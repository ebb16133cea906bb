"""Our own `telemetry.json`, which `Telemetry` and the callbacks write for networks trained in other programs."""

from collections.abc import Mapping
from pathlib import Path

from innersight.storage.bounded import read_json, reading
from innersight.train.fixed import read_images
from innersight.train.logs.log import Series, TrainingLog, log_formats
from innersight.train.records import checked_record


def _fits(name: str, head: bytes) -> bool:
    return name.rpartition("/")[2] == "telemetry.json" and head.lstrip()[:1] == b"{"


@log_formats.register(
    "Innersight telemetry",
    use="telemetry.json, written by innersight.train.Telemetry and its callbacks",
    fits=_fits,
    order=0,
)
def telemetry(files: Mapping[str, Path]) -> TrainingLog:
    """Curves by step, and the statistics of every layer."""
    (path,) = files.values()
    data = read_json(path, what="training record")
    with reading(path, "training record"):
        record = checked_record(data)
    log = TrainingLog(record=record["layers"], images=read_images(path.parent))
    for name, found in record["scalars"].items():
        series = log.scalars[name] = Series()
        for step, value in zip(found["step"], found["value"], strict=True):
            series.add(step, float("nan") if value is None else value)
    return log
