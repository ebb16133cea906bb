"""What `keras.callbacks.CSVLogger` writes: one row per epoch."""

from collections.abc import Mapping
from pathlib import Path

from innersight.train.logs.log import TrainingLog, log_formats
from innersight.train.logs.tables import header_of, read_table

RATES = frozenset({"lr", "learning_rate"})


def _fits(name: str, head: bytes) -> bool:
    header = header_of(head)
    return header[0] == "epoch" and len(header) > 1 and "step" not in header if header else False


@log_formats.register(
    "Keras CSVLogger",
    source="https://keras.io/api/callbacks/csv_logger/",
    use="a CSV file that begins with the column epoch",
    fits=_fits,
    order=30,
)
def keras_csv(files: Mapping[str, Path]) -> TrainingLog:
    """Curves by epoch; a name without `val_` is of the training."""
    (path,) = files.values()
    log = read_table(path, axis="epoch", beside=frozenset())
    named = {
        name if name.startswith("val_") or name in RATES else f"train_{name}": found
        for name, found in log.scalars.items()
    }
    log.scalars = named
    return log
