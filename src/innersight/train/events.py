"""Event files for TensorBoard."""

from typing import Any

from innersight.errors import MissingExtraError

BINS = 32  # of every histogram


def open_writer(folder: str, resume_at: int) -> Any:
    """Return a writer of event files that replaces what lies beyond a step. Raises MissingExtraError without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    return SummaryWriter(folder, purge_step=resume_at + 1 if resume_at else None)


def add_histogram(writer: Any, tag: str, edges: list[float], counts: list[int], step: int) -> None:
    """Write a histogram of equal bins between two edges, with its counts."""
    low, high = edges
    # Of values that are all the same, limits that rise all the same, whatever the size.
    width = (high - low) / BINS or abs(high) * 1e-12 or 1e-12
    limits = [low + width * (n + 1) for n in range(BINS)]
    middles = [limit - width / 2 for limit in limits]
    total = sum(n * m for n, m in zip(counts, middles, strict=True))
    squares = sum(n * m * m for n, m in zip(counts, middles, strict=True))
    writer.add_histogram_raw(tag, low, high, sum(counts), total, squares, limits, counts, global_step=step)
