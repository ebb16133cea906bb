"""Options of a function in one frozen dataclass: converted when made, changed by keywords, stored as plain data."""

import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from innersight.errors import InnersightError, nearest
from innersight.scalars import integer, is_listed, number, seed_of

T = TypeVar("T")


def convert(options: Any) -> None:
    """Turn the values of a frozen dataclass into the types its fields declare; call it in `__post_init__`.

    Raises InnersightError for a value of another type; see `made` for what is taken.
    """
    for name, value in _all_converted(type(options), vars(options)).items():
        object.__setattr__(options, name, value)


def made(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass of options from values that may be written in other ways.

    Parameters
    ----------
    kind
        The dataclass.
    values
        By the names of fields; the defaults for the others. Numbers may come from NumPy or torch. A field whose type
        has `parse`, or whose metadata name a function "parse", may be text; a dataclass may be a mapping of its fields.

    Raises
    ------
    InnersightError
        For values of another type, and for those the dataclass refuses.

    """
    return kind(**_all_converted(kind, values))


def changed(
    function: str, kind: type[T], options: T | None, changes: Mapping[str, Any], others: Iterable[str] = ()
) -> T:
    """Return options with changes made: what a public function does with `options=` and further keywords.

    Parameters
    ----------
    function
        Its name, for messages.
    kind
        The dataclass.
    options
        What was given; the defaults when None.
    changes
        Values by the names of fields.
    others
        Names of the function's own parameters, among which the nearest name is looked for too.

    Raises
    ------
    InnersightError
        For an unknown name, with the nearest ones, and for values that do not fit.

    Examples
    --------
    >>> from innersight.patterns.options import PatternOptions
    >>> changed("patterns", PatternOptions, None, {"steps": 4}).steps
    4

    """
    if options is not None and not isinstance(options, kind):
        raise InnersightError(f"options is a {type(options).__name__}: give a {kind.__name__}")
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in changes:
        if name not in names:
            raise InnersightError(f"{function} has no option {name!r}; {nearest(name, [*names, *others])}")
    return replace(kind() if options is None else options, **_all_converted(kind, changes))  # type: ignore[type-var]


def chosen(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise InnersightError for a value that is none of the choices."""
    known = tuple(choices)
    if value not in known:
        raise InnersightError(f"{name}={value!r}: choose from {', '.join(known)}")


def _all_converted(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    hints, metadata = typing.get_type_hints(kind), {field.name: field.metadata for field in fields(kind)}
    found = {}
    for name, value in values.items():
        if isinstance(value, str) and "parse" in metadata[name]:
            value = metadata[name]["parse"](value)
        found[name] = _converted(name, value, hints[name])
    return found


def _converted(name: str, value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) if typing.get_origin(hint) is not tuple and typing.get_args(hint) else (hint,)
    if value is None and NoneType in kinds:
        return None
    if any(kind in kinds and isinstance(value, kind) for kind in (bool, str, Path)):
        return value
    for kind in kinds:
        if is_dataclass(kind):
            if isinstance(value, kind):  # type: ignore[arg-type]
                return value
            if isinstance(value, str) and hasattr(kind, "parse"):
                return kind.parse(value)
            if isinstance(value, Mapping):
                return made(typing.cast(type, kind), value)
        if typing.get_origin(kind) in (tuple, list) and is_listed(value):
            inner, *more = typing.get_args(kind)
            value = list(value)
            if more and Ellipsis not in more and len(value) != 1 + len(more):
                raise InnersightError(f"{name} has {len(value)} values: give {1 + len(more)}")
            return typing.get_origin(kind)(_converted(name, one, inner) for one in value)
    for kind in (int, float):
        if kind in kinds:
            return _number(name, value, kind)
    wanted = " or ".join("None" if kind is NoneType else getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise InnersightError(f"{name} is {value!r}: give {wanted}")


def _number(name: str, value: Any, kind: Any) -> Any:
    if name == "seed":
        return seed_of(value)
    return number(value, name) if kind is float else integer(value, name)
