"""Nested outputs: the tensors inside tuples, lists, mappings and dataclasses."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in `value` with its location, such as `[0]['x']`; "" for a bare tensor."""
    if isinstance(value, Tensor):
        yield where, value
        return
    for key, item in _items(value):
        yield from leaves(item, f"{where}{key}")


def transform(function: Callable[[str, Tensor], Tensor], value: Any, where: str = "") -> Any:
    """Return `value` with every tensor replaced by `function(location, tensor)`; everything else is shared."""
    if isinstance(value, Tensor):
        return function(where, value)
    changed = [transform(function, item, f"{where}{key}") for key, item in _items(value)]
    if not changed:
        return value
    if isinstance(value, Mapping):
        made: Any = copy.copy(value)
        for key, item in zip(value, changed, strict=True):
            made[key] = item
        return made
    if isinstance(value, tuple | list):
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    made = copy.copy(value)
    for entry, item in zip(fields(value), changed, strict=True):
        object.__setattr__(made, entry.name, item)
    return made


def _items(value: Any) -> list[tuple[str, Any]]:
    # A mapping first: the outputs of some libraries are a dataclass and a mapping at once.
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{key}", item) for key, item in zip(value._fields, value, strict=True)]
    if isinstance(value, tuple | list):
        return [(f"[{i}]", item) for i, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return [(f".{entry.name}", getattr(value, entry.name)) for entry in fields(value)]
    return []
