"""What Lightning's `CSVLogger` writes: `metrics.csv`, with empty cells for what was not logged at a step."""

from collections.abc import Mapping
from pathlib import Path

from innersight.train.logs.log import TrainingLog, log_formats
from innersight.train.logs.tables import header_of, read_table


def _fits(name: str, head: bytes) -> bool:
    header = header_of(head)
    return "step" in header and len(header) > 1


@log_formats.register(
    "Lightning CSVLogger",
    source="https://lightning.ai/docs/pytorch/stable/extensions/generated/lightning.pytorch.loggers.CSVLogger.html",
    use="metrics.csv, with a column step",
    fits=_fits,
    order=20,
)
def lightning_csv(files: Mapping[str, Path]) -> TrainingLog:
    """Curves by step."""
    (path,) = files.values()
    return read_table(path, axis="step", beside=frozenset({"epoch"}))
