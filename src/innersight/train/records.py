"""Numbers of a training record: norms, histograms, and series that stay short."""

import math
from typing import Any

import torch
from torch import Tensor

from innersight.quotients import precise
from innersight.train.events import BINS


def norm(values: Tensor) -> Tensor:
    """Return the Euclidean norm, in float64: the squares of a gradient that vanishes are zero in float32."""
    size: Tensor = precise(values).norm()
    return size


def histogram(values: Tensor) -> list[int]:
    """Return counts of (N,) values in 32 equal bins from the least to the largest; those not finite fall anywhere."""
    low, high = values.min(), values.max()
    width = (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    places = ((values - low) / width * BINS).nan_to_num(0, 0, 0).clamp_(0, BINS - 1).long()
    return torch.bincount(places, minlength=BINS).tolist()


def empty_record() -> dict[str, Any]:
    """Return the record of a layer before its first step."""
    return {
        **{key: [] for key in ("step", "weight_norm", "gradient_norm", "update_ratio", "dead")},
        **{f"{key}_histogram": {"edges_low": [], "edges_high": [], "counts": []} for key in ("weight", "gradient")},
    }


def finite(values: list[float]) -> list[float | None]:
    """Return numbers rounded to 5 digits, which the file's size needs; None for what is not a number."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]


def halve(series: dict[str, list[Any]]) -> None:
    """Average the values of a series in pairs, in place; the last one of an odd number stays."""
    steps, values = series["step"], series["value"]
    last = [values[-1]] if len(values) % 2 else []
    series["value"] = [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=False)] + last
    series["step"] = steps[1::2] + ([steps[-1]] if len(steps) % 2 else [])
