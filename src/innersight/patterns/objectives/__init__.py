"""What a pattern maximizes: sums of terms, each of a kind. One file for each kind or family of kinds."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address, ClassAddress, parse
from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.layer import Layer
from innersight.layers import check_layers
from innersight.model import Model
from innersight.registry import Registry


@dataclass(frozen=True, eq=False)
class Distribution:
    """What a layer gives for natural images.

    values : (units, n) of each unit over locations in ascending order, the mean over images. weights : (units,), of the
    squared distances from them.
    """

    values: Tensor
    weights: Tensor

    def digest(self) -> str:
        """Return what tells it from others."""
        return hashlib.sha256(self.values.numpy().tobytes() + self.weights.numpy().tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Term:
    """One part of an objective.

    kind : name in the registry. address : a unit, perhaps at one location, a layer, or a class. weight : of its value
    in the sum. given : what the kind needs further: a direction in unit space, an Image, or
    a distribution.
    """

    kind: str
    address: Address | ClassAddress
    weight: float = 1.0
    given: Tensor | Image | Distribution | None = None

    @property
    def layer(self) -> str | None:
        """The layer it reads; None for the class scores."""
        return self.address.layer if isinstance(self.address, Address) else None

    @property
    def name(self) -> str:
        """The kind and address, as `resolve` reads it."""
        return str(self.address) if self.kind == plain(self.address) else f"{self.kind}({self.address})"

    def __repr__(self) -> str:
        return f"Term({self.weight:g} * {self.name})"


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of terms, which a pattern maximizes; objectives can be added, negated and scaled.

    Attributes
    ----------
    terms : tuple of Term
        The parts of the sum.

    """

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        text = ""
        for term in self.terms:
            sign = "-" if term.weight < 0 else "+"
            size = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} * "
            text += f" {sign} {size}{term.name}" if text else f"{'-' if sign == '-' else ''}{size}{term.name}"
        return text

    def __repr__(self) -> str:
        return f"Objective({str(self)!r})"

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.terms + other.terms)

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return self * -1

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other

    @property
    def single(self) -> Term | None:
        """The term, where there is but one and it is a unit or a class logit, perhaps negative."""
        (first, *rest) = self.terms
        return first if not rest and first.kind in ("unit", "logit") else None


@dataclass(frozen=True, eq=False)
class Rows:
    """The terms of one kind on one layer, and the rows of the batch they belong to.

    at : (n,) row of each term. together : (n,) the same number for rows that are drawn together.
    references : for a term with an Image, what the layer makes of it: (units, h, w). peak : whether the response is
    asked for (a unit's highest location) rather than what is optimized (the mean of its map).
    """

    model: Model
    at: Tensor
    together: Tensor
    terms: tuple[Term, ...]
    references: tuple[Tensor | None, ...]
    peak: bool

    __repr__ = brief

    def tensor(self, values: Sequence[Any], dtype: torch.dtype = torch.long) -> Tensor:
        """Return one value per term as a tensor on the model's device."""
        return torch.tensor(values, dtype=dtype, device=self.at.device)


# Of the layer's activations (B, units, h, w), or of the scores (B, classes): the value of each term (n,).
Read = Callable[[Tensor], Tensor]
Make = Callable[[Rows], Read]
Takes = Literal["units", "layer", "class"]
objectives: Registry[Make] = Registry("objective", __name__, takes="units", given=None, alone=True, example="")
"""Beside its title and paper, an entry states:

- takes : what its address names: "units" of a layer, a whole "layer", or a "class".
- given : the type of `Term.given`, where it needs something further: Tensor for a direction, Image.
- alone : whether it is an objective by itself.
- example : how it is written, with LAYER and NAME for a layer and a class; empty for what only Python can ask for.
"""

_WEIGHT = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_TERM = re.compile(rf"(?:(?P<weight>{_WEIGHT})\s*\*\s*)?(?:(?P<kind>[a-z][a-z0-9-]*)\((?P<inner>.+)\)|(?P<plain>.+))")


def plain(address: Address | ClassAddress) -> str:
    """Return the kind that an address alone stands for."""
    return "unit" if isinstance(address, Address) else "logit"


def resolve(
    model: Model,
    what: "str | Target | Sequence[str | Target]",
    reference: Image | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[Objective, ...]:
    """Return the objectives named, each checked against the model.

    Parameters
    ----------
    model : Model
        The network.
    what : str, address, Objective, or several of these
        An address, `KIND(ADDRESS)`, or a sum of these written with spaces: `stage2:5 - 0.5 * stage2:7`. A leading `-`
        asks for what inhibits it. A layer alone stands for all its units.
    reference : Image, optional
        The image that `caricature` and `inversion` look at.
    size : (int, int), optional
        Height and width of the patterns, in whose grids locations are counted; the network's own when None.

    Returns
    -------
    tuple of Objective
        In the order named.

    Raises
    ------
    InnersightError
        Naming what is unknown, with the nearest names.

    Examples
    --------
    >>> import innersight as ins
    >>> resolve(ins.load("small:8"), ["stage1:0-1", "-stage2:3", "stage1:0 - 0.5 * stage2:1"])
    (Objective('stage1:0'), Objective('stage1:1'), Objective('-stage2:3'), Objective('stage1:0 - 0.5 * stage2:1'))

    """
    given = [what] if isinstance(what, str | Address | ClassAddress | Objective) else list(what)
    found = [one for item in given for one in _read(item, model.labels)]
    if not found:
        raise InnersightError("nothing to optimize: name units such as stage2:0-15, or class:NAME")
    names = sorted({term.layer for one in found for term in one.terms if term.layer is not None})
    known = {layer.name: layer for layer in check_layers(model, names)} if names else {}
    if names and size is not None:
        known = {name: replace(known[name], grid=grid) for name, grid in grids(model, names, size).items()}
    whole: list[Objective] = []
    for one in found:
        first = one.terms[0]
        if (
            len(one.terms) == 1
            and first.kind == "unit"
            and isinstance(first.address, Address)
            and first.address.unit is None
        ):
            units = range(known[first.address.layer].units)
            whole += [Objective((replace(first, address=Address(first.address.layer, unit)),)) for unit in units]
        else:
            whole.append(one)
    for one in whole:
        if all(not objectives.entry(term.kind).alone for term in one.terms):
            kind = one.terms[0].kind
            raise InnersightError(
                f"{str(one)!r}: {kind} is no objective by itself; add one, such as LAYER:0 + {kind}(LAYER)"
            )
    return tuple(Objective(tuple(_checked(model, known, term, reference) for term in one.terms)) for one in whole)


Target = Address | ClassAddress | Objective


def grids(model: Model, layers: Sequence[str], size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the grid (h, w) of every layer for images of a size (H, W)."""
    x = torch.zeros(1, model.input.channels, *size, device=model.device, dtype=model.dtype)
    with tap.untouched(model), torch.no_grad():
        found = tap.capture(model, x, layers).activations
    return {name: (maps.shape[2], maps.shape[3]) for name, maps in found.items()}


def _read(item: "str | Target", labels: Sequence[str]) -> list[Objective]:
    if isinstance(item, str) and item.startswith("class:") and item.removeprefix("class:") in labels:
        # A label may look like a sum.
        item = ClassAddress(item.removeprefix("class:"))
    if isinstance(item, Objective):
        return [item]
    if isinstance(item, Address | ClassAddress):
        return [Objective((Term(plain(item), item),))]
    text = item.strip()
    sign = -1.0 if text.startswith("-") else 1.0
    parts = re.split(r"\s([+-])\s", text.lstrip("-").strip() if sign < 0 else text)
    lists = [_terms(parts[0], sign, text)]
    lists += [
        _terms(part, -1.0 if mark == "-" else 1.0, text) for mark, part in zip(parts[1::2], parts[2::2], strict=True)
    ]
    if len(lists) == 1:
        return [Objective((term,)) for term in lists[0]]
    if any(len(terms) != 1 for terms in lists):
        raise InnersightError(f"{text!r}: a sum takes one unit from each address; write its units one by one")
    return [Objective(tuple(terms[0] for terms in lists))]


def _terms(text: str, sign: float, whole: str) -> list[Term]:
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise InnersightError(
            f"{whole!r} is no objective: write an address, KIND(ADDRESS), or a sum of these with spaces"
        )
    weight = sign * float(match["weight"] or 1)
    addresses = parse((match["inner"] or match["plain"]).strip())
    kind = match["kind"]
    if kind is not None:
        objectives[kind]
    return [Term(kind or plain(address), address, weight) for address in addresses]


def _checked(model: Model, known: dict[str, Layer], term: Term, reference: Image | None) -> Term:
    """Return the term with its address in full. Raises InnersightError where kind, address and model do not fit."""
    address = term.address
    entry = objectives.entry(term.kind)
    takes, given = entry.takes, entry.given
    if (takes == "class") != isinstance(address, ClassAddress):
        wanted = "class:NAME" if takes == "class" else "a layer or its units"
        raise InnersightError(f"{term.name}: {term.kind} takes {wanted}")
    if isinstance(address, ClassAddress):
        if term.kind == "probability" and not model.has_probabilities:
            raise InnersightError(f"{term.name}: the scores of {model.name} stand for no probabilities")
        return replace(term, address=ClassAddress(model.labels[model.class_index(address.name)]))
    layer = known[address.layer]
    if address.unit is not None and address.unit >= layer.units:
        raise InnersightError(f"{address}: {layer.name} has units 0-{layer.units - 1}")
    if address.location and not (address.location[0] < layer.grid[0] and address.location[1] < layer.grid[1]):
        raise InnersightError(f"{address}: the grid of {layer.name} is {layer.grid[0]}x{layer.grid[1]} (y, x)")
    if takes == "units" and address.unit is None:
        raise InnersightError(f"{term.name}: a sum takes one unit from each address; write {address.layer}:0")
    if takes == "layer" and address.unit is not None:
        raise InnersightError(f"{term.name}: {term.kind} takes a whole layer; write {term.kind}({address.layer})")
    directions = model.directions(address.layer)
    if term.kind == "unit" and directions is not None and address.unit is not None:
        term = replace(term, given=directions[address.unit].cpu())
    if given is Tensor:
        if not isinstance(term.given, Tensor) or term.given.shape != (layer.units,):
            shape = tuple(term.given.shape) if isinstance(term.given, Tensor) else None
            raise InnersightError(f"{term.name}: a direction in {layer.name} has {layer.units} numbers, not {shape}")
        if not bool(torch.isfinite(term.given).all()) or not bool(term.given.any()):
            raise InnersightError(f"{term.name}: the direction must be finite and not zero")
    if given is Distribution and not isinstance(term.given, Distribution):
        raise InnersightError(f"{term.name}: {term.kind} is asked for by the option natural=0.5 (--natural 0.5)")
    if given is Image and term.given is None:
        if reference is None:
            raise InnersightError(f"{term.name}: {term.kind} needs an image: give reference= (--reference)")
        return replace(term, given=reference)
    return term
