"""Plain data of a document, checked: a study may come from a stranger. Each raises TypeError or ValueError."""

from collections.abc import Callable
from typing import Any


def typed(value: Any, kind: type) -> Any:
    """Return a value that is of exactly this type."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def texts(values: Any) -> list[str]:
    """Return a list of texts."""
    return [typed(value, str) for value in typed(values, list)]


def number(value: Any) -> float:
    """Return a number, which may be nan or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def maybe(value: Any, read: Callable[[Any], Any]) -> Any:
    """Return None for None, else what `read` makes of the value."""
    return None if value is None else read(value)


def below(value: Any, end: int) -> int:
    """Return a whole number from 0 on, below `end`."""
    found: int = typed(value, int)
    if not 0 <= found < end:
        raise ValueError(f"{found} is not between 0 and {end - 1}")
    return found


def interval(ends: Any) -> list[float] | None:
    """Return both ends of an interval; None where there is none."""
    if ends is None:
        return None
    found = [number(one) for one in typed(ends, list)]
    if len(found) != 2:
        raise ValueError("an interval has two ends")
    return found
