"""What a result is, in a few lines: how it shows itself at a prompt."""

from collections.abc import Mapping, Sized
from dataclasses import fields, is_dataclass
from typing import Any

WIDTH, SEVERAL, LINES = 100, 3, 12


def brief(result: Any) -> str:
    """Return the name of a dataclass with a line for each field that holds something; `__repr__ = brief`.

    Of tensors and arrays the shape is shown, of other things that hold many how many they are, of a network its name.
    """
    values = [(entry.name, getattr(result, entry.name, None)) for entry in fields(result) if entry.repr]
    lines = [f"{name}: {text}" for name, value in values if (text := _told(value))]
    return "\n  ".join(_cut(line) for line in [type(result).__name__, *lines[:LINES]])


def _told(value: Any) -> str:
    """Return one value in some words; nothing for what is empty."""
    if hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if value is None or value is False or (isinstance(value, Sized) and not len(value)):
        return ""
    if isinstance(value, Mapping):
        told = [f"{key} ({text})" if (text := _small(one)) else str(key) for key, one in _some(value.items())]
        return _listed(told, value)
    if isinstance(value, tuple | list):
        if all(is_dataclass(one) and not _named(one) for one in _some(value)):
            return f"{len(value):,} of {type(value[0]).__name__}"
        return _listed([_small(one) for one in _some(value)], value)
    return _small(value)


def _small(value: Any) -> str:
    """Return a part of a result in a word or two."""
    if hasattr(value, "shape"):
        return str(tuple(value.shape))
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, tuple | list | Mapping):
        return f"{len(value):,} entries"
    # What has no text of its own would show its repr, which may be that of a network.
    return _named(value) or (str(value) if "__str__" in vars(type(value)) else type(value).__name__)


def _named(value: Any) -> str:
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else ""


def _some(value: Any) -> list[Any]:
    return [one for one, _ in zip(value, range(SEVERAL), strict=False)]


def _listed(shown: list[str], of: Any) -> str:
    rest = len(of) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _cut(line: str) -> str:
    plain = " ".join(line.split())
    return plain if len(plain) <= WIDTH else f"{plain[: WIDTH - 3]}..."
