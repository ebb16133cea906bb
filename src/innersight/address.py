"""Addresses: `layer:unit`, `layer:unit@y,x`, `layer:0-15`, `class:NAME`; one spelling in CLI, API, URL and file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from innersight.errors import DIGITS, InnersightError
from innersight.scalars import integer

_NUMBER = rf"[0-9]{{1,{DIGITS}}}"
_UNITS = re.compile(rf"{_NUMBER}(-{_NUMBER})?(,{_NUMBER}(-{_NUMBER})?)*")
_LOCATION = re.compile(rf"({_NUMBER}),({_NUMBER})")


@dataclass(frozen=True, order=True, init=False)
class Address:
    """One unit of a layer, or (unit None) all units of it; location is (y, x) in the layer's grid.

    >>> str(Address("stage1.0", 7, (3, 4)))
    'stage1.0:7@3,4'
    """

    layer: str
    unit: int | None
    location: tuple[int, int] | None

    def __init__(
        self,
        layer: str,
        unit: SupportsIndex | None = None,
        location: "Sequence[SupportsIndex] | None" = None,
    ) -> None:
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "unit", None if unit is None else integer(unit, f"the unit of {layer}"))
        found = None if location is None else tuple(integer(one, f"the location in {layer}") for one in location)
        if found is not None and len(found) != 2:
            raise InnersightError(f"the location in {layer} has {len(found)} numbers: give (y, x)")
        object.__setattr__(self, "location", found)

    def __str__(self) -> str:
        text = self.layer if self.unit is None else f"{self.layer}:{self.unit}"
        return text if self.location is None else f"{text}@{self.location[0]},{self.location[1]}"


@dataclass(frozen=True, order=True, init=False)
class ClassAddress:
    """One class of the model, by its label or number.

    >>> str(ClassAddress("marge_simpson"))
    'class:marge_simpson'
    """

    name: str

    def __init__(self, name: str | SupportsIndex) -> None:
        object.__setattr__(self, "name", name if isinstance(name, str) else str(integer(name, "the class")))

    def __str__(self) -> str:
        return f"class:{self.name}"


def parse(text: str) -> tuple[Address, ...] | tuple[ClassAddress]:
    """Return the addresses that `text` names, in the order written.

    A layer alone gives one address with unit None. Raises InnersightError for anything else than the forms above.

    >>> [str(a) for a in parse("conv1:0-2,7")]
    ['conv1:0', 'conv1:1', 'conv1:2', 'conv1:7']
    >>> parse("class:ada")
    (ClassAddress(name='ada'),)
    """
    head, colon, tail = text.partition(":")
    if not head or (colon and not tail) or any(c.isspace() for c in head):
        raise InnersightError(f"{text!r} is not an address; write layer:unit, layer:0-15, layer:unit@y,x or class:NAME")
    if head == "class" and colon:
        return (ClassAddress(tail),)
    if not colon:
        return (Address(head),)
    units, at, where = tail.partition("@")
    at_location = _LOCATION.fullmatch(where)
    if not _UNITS.fullmatch(units) or (at and not at_location):
        raise InnersightError(f"{text!r} is not an address: after the colon write 7, 0-15, 0,3,8 or 7@y,x")
    numbers: list[int] = []
    for part in units.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise InnersightError(f"{text!r}: the range {part} runs backwards; write {last}-{first}")
        if last and int(last) - int(first) > 100_000:
            raise InnersightError(f"{text!r}: the range {part} is longer than any layer")
        numbers.extend(range(int(first), int(last or first) + 1))
    location = (int(at_location[1]), int(at_location[2])) if at_location else None
    return tuple(Address(head, n, location) for n in numbers)
