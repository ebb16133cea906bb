"""Numbers of a training record: norms, histograms, and series that stay short."""

import math
from collections.abc import Sequence
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


def measured(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], before: Sequence[Tensor] | None, positive: Tensor | None
) -> tuple[Tensor, tuple[list[int], list[int] | None]]:
    """Return the figures of one layer, and counts of the histograms of its weights and gradients.

    before : the weights before the step. positive : (units,) whether a unit was positive anywhere.
    Returns (8,) float64, nan where something is not known: weight_norm, gradient_norm, update_ratio, dead, the lowest
    and highest weight, the lowest and highest gradient.
    """
    values = torch.cat([one.detach().flatten() for one in weights]).float()
    slopes = [one.detach().flatten() for one in gradients]
    gradient = torch.cat(slopes).float() if slopes else values.new_full((1,), math.nan)
    change = start = precise(values.new_tensor(math.nan))
    if before is not None:
        former = torch.cat([one.flatten() for one in before]).float()
        change, start = norm(precise(values) - precise(former)), norm(former)
    dead = values.new_tensor(math.nan) if positive is None else 1 - positive.float().mean().to(values)
    lows = [values.min(), values.max(), gradient.min(), gradient.max()]
    row = torch.stack([norm(values), norm(gradient), change / start, *map(precise, (dead, *lows))])
    return row, (histogram(values), histogram(gradient) if slopes else None)


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


def checked_record(data: Any) -> dict[str, Any]:
    """Return {"scalars", "layers"} of a training record from a file: lists of numbers, of one length each.

    Raises TypeError, ValueError or KeyError for what is none.
    """
    scalars = {
        str(name): {"step": (steps := _steps(found["step"])), "value": _values(found["value"], len(steps))}
        for name, found in _mapping(data["scalars"])
    }
    return {"scalars": scalars, "layers": {str(name): _layer(found) for name, found in _mapping(data["layers"])}}


def _layer(found: Any) -> dict[str, Any]:
    record = empty_record()
    steps = record["step"] = _steps(found["step"])
    for key in record:
        if key == "step":
            continue
        nothing = [None] * len(steps)
        if not key.endswith("_histogram"):
            record[key] = _values(found.get(key, nothing), len(steps))
            continue
        own = found.get(key, dict.fromkeys(("edges_low", "edges_high", "counts"), nothing))
        edges = {edge: _values(own[edge], len(steps)) for edge in ("edges_low", "edges_high")}
        counts = [None if row is None else _values(row, BINS) for row in _listed(own["counts"], len(steps))]
        record[key] = {**edges, "counts": counts}
    return record


def _mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of curves by name")
    return value.items()


def _listed(values: Any, size: int) -> list[Any]:
    if not isinstance(values, list) or len(values) != size:
        raise ValueError(f"a list of {size} values is missing")
    return values


def _steps(values: Any) -> list[int]:
    steps = _listed(values, len(values))
    if any(type(step) is not int or not 0 <= step < 2**53 for step in steps) or sorted(set(steps)) != steps:
        raise ValueError("steps are rising whole numbers")
    return steps


def _values(values: Any, size: int) -> list[float | None]:
    for value in _listed(values, size):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"{type(value).__name__} in place of a number")
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]
