"""Whole numbers and numbers, however a library writes them."""

import operator
from collections.abc import Iterable
from typing import Any

from innersight.errors import InnersightError

SEEDS = 2**63


def integer(value: Any, what: str) -> int:
    """Return a whole number given as int, NumPy integer, or array or tensor without dimensions.

    what : its name, for the message. Raises InnersightError for anything else: truth values and floats too, which stand
    where a number was meant more often than for one.
    """
    if is_integer(value):
        return operator.index(value)
    raise InnersightError(f"{what} is {shown(value)}: give a whole number, such as 3")


def seed_of(value: Any) -> int:
    """Return a seed: a whole number of 0 or more, below `SEEDS`. Raises InnersightError for anything else."""
    found = integer(value, "seed")
    if not 0 <= found < SEEDS:
        raise InnersightError(f"seed={found}: give a whole number of 0 or more, below 2 to the 63rd")
    return found


def is_integer(value: Any) -> bool:
    """Return whether `integer` takes a value.

    >>> is_integer(3), is_integer(True), is_integer(3.0)
    (True, False, False)
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return False
    # An array of one number is a list of numbers; its truth value may count as one.
    if tuple(getattr(value, "shape", ())) or str(getattr(value, "dtype", "")).rpartition(".")[2] == "bool":
        return False
    try:
        operator.index(value)
    except (TypeError, RuntimeError):  # an array or tensor of floats, a tensor without values
        return False
    return True


def number(value: Any, what: str) -> float:
    """Return a number given as int, float, NumPy number, or array or tensor without dimensions.

    what : its name, for the message. Raises InnersightError for anything else, truth values too.
    """
    if is_integer(value):
        return operator.index(value)
    plain = isinstance(value, float) or (hasattr(value, "__float__") and not tuple(getattr(value, "shape", ())))
    if plain and not isinstance(value, bool | complex) and _real(value) and not getattr(value, "is_meta", False):
        return float(value)
    raise InnersightError(f"{what} is {shown(value)}: give a number, such as 0.5")


def is_listed(value: Any) -> bool:
    """Return whether a value holds several values; text and bytes are one value each.

    >>> is_listed([3]), is_listed("3"), is_listed(b"3")
    (True, False, False)
    """
    return isinstance(value, Iterable) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) > 0


def at_least_one(**sizes: int) -> None:
    """Raise InnersightError for a size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise InnersightError(f"{name}={size}: give 1 or more")


def _real(value: Any) -> bool:
    return not any(kind in str(getattr(value, "dtype", "")) for kind in ("complex", "bool"))


def shown(value: Any) -> str:
    """Return a value in a few words."""
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape):
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
