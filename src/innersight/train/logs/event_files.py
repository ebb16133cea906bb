"""The records of TensorBoard's event files, one by one, without running or trusting anything in them."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from innersight.errors import InnersightError, MissingExtraError, printable
from innersight.storage.bounded import opened
from innersight.train.logs.layers import LoggedHistogram

WHAT = "event file"
MAX_FILE = 2**30
MAX_RECORD = 2**26  # images and graphs are passed over; curves and histograms are far smaller
MAX_BUCKETS = 10_000
_USED = frozenset({"simple_value", "tensor", "histo"})
_FLOAT, _DOUBLE = 1, 2  # DT_FLOAT and DT_DOUBLE of a TensorProto


def protocol() -> Any:
    """Return the module of the messages. Raises MissingExtraError without TensorBoard."""
    try:
        from tensorboard.compat.proto import event_pb2
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    return event_pb2


def events_of(path: Path, notes: list[str], name: str) -> Iterator[Any]:
    """Yield the events of a file; a last record that is cut off becomes a note: the program may still be writing.

    Raises InnersightError for a record that is damaged, and for one larger than any curve can be.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    event = protocol().Event
    with opened(path, what=WHAT, limit=MAX_FILE) as file:
        while header := file.read(12):
            at = file.tell() - len(header)
            where = f"{printable(name)}, byte {at}"
            if len(header) == 12:
                size, sum_of_size = struct.unpack("<QI", header)
                if masked_crc32c(header[:8]) != sum_of_size:
                    raise InnersightError(f"{where}: the {WHAT} is damaged (the size of a record does not fit its sum)")
                if size > MAX_RECORD:
                    raise InnersightError(
                        f"{where}: a record of {size:,} bytes is no part of a training's curves; the limit is "
                        f"{MAX_RECORD:,}"
                    )
                data, ending = file.read(size), file.read(4)
            if len(header) < 12 or len(data) < size or len(ending) < 4:
                notes.append(
                    f"{printable(name)} ends within a record: its program was stopped there, or is still writing."
                )
                return
            try:
                found = event.FromString(data)
            except DecodeError as error:
                raise InnersightError(f"{where}: the {WHAT} is damaged (a record is no event)") from error
            if not any(value.WhichOneof("value") in _USED for value in found.summary.value):
                continue
            # What is passed over is not summed up: with images that would take minutes.
            if masked_crc32c(data) != struct.unpack("<I", ending)[0]:
                raise InnersightError(f"{where}: the {WHAT} is damaged (a record does not fit its sum)")
            yield found


def scalar_of(value: Any) -> float | None:
    """Return the number of a summary's value; None where it is of another kind."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    plugin = value.metadata.plugin_data.plugin_name
    if kind != "tensor" or plugin not in ("", "scalars"):
        return None
    found = _tensor(value.tensor)
    return float(found[0]) if found is not None and found.size == 1 else None


def histogram_of(value: Any, step: int) -> LoggedHistogram | None:
    """Return the histogram of a summary's value; None where it is of another kind, empty or not a histogram."""
    kind = value.WhichOneof("value")
    if kind == "histo":
        limits, counts = np.array(value.histo.bucket_limit), np.array(value.histo.bucket)
        low, high = value.histo.min, value.histo.max
        if len(limits) != len(counts) or not len(limits):
            return None
        # The outermost limits may be the largest number there is.
        edges = np.clip(np.r_[low, limits], low, high)
        edges[-1] = high
    elif kind == "tensor" and value.metadata.plugin_data.plugin_name in ("", "histograms"):
        found = _tensor(value.tensor)
        shape = [one.size for one in value.tensor.tensor_shape.dim]
        if found is None or len(shape) != 2 or shape[1] != 3 or not shape[0]:
            return None
        rows = found.reshape(shape)
        edges, counts = np.r_[rows[0, 0], rows[:, 1]], rows[:, 2]
    else:
        return None
    sound = (
        np.isfinite(edges).all() and np.isfinite(counts).all() and (np.diff(edges) >= 0).all() and (counts >= 0).all()
    )
    if not sound:
        return None
    with np.errstate(over="ignore"):
        # Of numbers near the largest there is, neither width nor sum need be one.
        width, total = edges[-1] - edges[0], counts.sum()
    return LoggedHistogram(step, edges, counts) if np.isfinite(width) and 0 < total < np.inf else None


def _tensor(proto: Any) -> np.ndarray | None:
    """Return the numbers of a small tensor; None for another type, and where they are not as many as its shape says."""
    if proto.dtype not in (_FLOAT, _DOUBLE):
        return None
    stated = [one.size for one in proto.tensor_shape.dim]
    if proto.tensor_content:
        size = 4 if proto.dtype == _FLOAT else 8
        if len(proto.tensor_content) % size:
            return None
        values = np.frombuffer(proto.tensor_content, dtype="<f4" if size == 4 else "<f8").astype(np.float64)
    else:
        values = np.array(proto.float_val if proto.dtype == _FLOAT else proto.double_val, dtype=np.float64)
    fits = len(stated) <= 2 and all(0 <= one <= MAX_BUCKETS for one in stated) and values.size == np.prod(stated or [1])
    return values if fits else None
