"""What a fit gives: directions in the space of a layer's units, and the way from vectors to codes and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.brief import brief as short
from innersight.errors import InnersightError, brief
from innersight.factorizations.kinds import factorizations
from innersight.scalars import seed_of, shown

LENGTH = 1e-3
"""By how much a direction's length may differ from 1 in a file."""


@dataclass(frozen=True, eq=False)
class Factorization:
    """Directions in a layer's unit space, and how vectors are written as sums of them.

    Attributes
    ----------
    kind : str
        Name of the factorization, such as "nmf".
    directions : Tensor
        (concepts, units) float32, of unit length, sorted: the first carry most of the vectors' squared size.
    offset : Tensor
        (units,) float32, subtracted from a vector before it is coded; zeros where the kind has none.
    tensors : dict of str to Tensor
        What else the coder takes, such as the encoder of an autoencoder.
    notes : tuple of str
        What a user should know of the fit, such as what was done with negative activations.
    settings : dict
        With which it was fitted: the seed and the options of its kind.

    Examples
    --------
    >>> from innersight.factorizations import fit
    >>> found = fit(torch.rand(100, 8), "nmf", 3)
    >>> found.encode(torch.rand(5, 8)).shape
    torch.Size([5, 3])

    """

    kind: str
    directions: Float[Tensor, "concepts units"]
    offset: Float[Tensor, " units"]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    __repr__ = short

    @property
    def concepts(self) -> int:
        """How many concepts there are."""
        return len(self.directions)

    @property
    def units(self) -> int:
        """How many units a vector has."""
        return self.directions.shape[1]

    def encode(self, vectors: Tensor) -> Float[Tensor, "n concepts"]:
        """Return how much of each concept is in each vector.

        Parameters
        ----------
        vectors : Tensor
            (N, units), on any device.

        Returns
        -------
        Tensor
            (N, concepts) on the same device, in the precision of the vectors and in the unit of the activations. It can
            be differentiated with respect to the vectors. A row depends on its own vector only; where that is not
            finite, the codes are nan.

        Raises
        ------
        InnersightError
            For vectors of another number of units.

        """
        if vectors.ndim != 2 or vectors.shape[1] != self.units:
            raise InnersightError(f"vectors of shape {tuple(vectors.shape)}: {self.kind} takes (N, {self.units})")
        narrow = vectors.dtype in (torch.float16, torch.bfloat16)
        wide = vectors.float() if narrow else vectors
        finite = torch.isfinite(wide).all(1, keepdim=True)
        encode = factorizations.entry(self.kind).encode
        codes: Tensor = encode(wide - self.offset.to(wide), self.directions.to(wide), self.tensors)
        return codes.masked_fill(~finite, float("nan")).to(vectors.dtype)

    def decode(self, codes: Tensor) -> Float[Tensor, "n units"]:
        """Return the vectors that codes stand for: the sum of the directions, each times its code, and the offset.

        Parameters
        ----------
        codes : Tensor
            (N, concepts), on any device.

        Returns
        -------
        Tensor
            (N, units), on the same device and in the same precision.

        Raises
        ------
        InnersightError
            For codes of another number of concepts.

        """
        if codes.ndim != 2 or codes.shape[1] != self.concepts:
            raise InnersightError(f"codes of shape {tuple(codes.shape)}: {self.kind} has (N, {self.concepts})")
        return codes @ self.directions.to(codes) + self.offset.to(codes)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return everything as plain data, which JSON can hold, and tensors, on the CPU. `of` reads it."""
        data = {"kind": self.kind, "notes": list(self.notes), "settings": dict(self.settings)}
        tensors = {**self.tensors, "directions": self.directions, "offset": self.offset}
        return data, {name: one.detach().cpu().contiguous() for name, one in tensors.items()}

    @classmethod
    def of(cls, data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Factorization":
        """Return the factorization that `state` wrote. Nothing in it is trusted.

        Parameters
        ----------
        data : Mapping
            The plain part.
        tensors : Mapping
            The tensors by their names.

        Raises
        ------
        InnersightError
            For an unknown kind, for anything missing, left over or of another type or shape, for directions that are
            not of unit length, and for values that are not finite.

        Examples
        --------
        >>> from innersight.factorizations import fit
        >>> found = Factorization.of(*fit(torch.rand(100, 8), "pca", 3).state())
        >>> found.kind, found.concepts
        ('pca', 3)

        """
        kind, notes, settings = _plain(data)
        entry = factorizations.entry(kind)
        wanted = {"directions": ("concepts", "units"), "offset": ("units",), **entry.shapes}
        if set(tensors) != set(wanted):
            raise InnersightError(f"{kind} has the tensors {', '.join(sorted(wanted))}, not {_listed(tensors)}")
        directions = tensors["directions"]
        if not isinstance(directions, Tensor) or directions.ndim != 2 or not directions.numel():
            raise InnersightError(f"directions are {shown(directions)}: give (concepts, units), neither of them 0")
        sizes = dict(zip(("concepts", "units"), directions.shape, strict=True))
        for name, dims in wanted.items():
            _check(name, tensors[name], tuple(sizes[dim] for dim in dims), whole=not dims)
        lengths = directions.double().norm(dim=1)
        if bool((lengths - 1).abs().max() > LENGTH):
            raise InnersightError("a direction has another length than 1: the file was changed; fit again")
        others = {name: tensors[name] for name in entry.shapes}
        if entry.check is not None:
            entry.check(others, len(directions))
        return cls(kind, directions, tensors["offset"], others, notes, settings)


def _plain(data: Mapping[str, Any]) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    if set(data) != {"kind", "notes", "settings"}:
        raise InnersightError(f"a factorization has kind, notes and settings, not {_listed(data)}")
    kind, notes, settings = data["kind"], data["notes"], data["settings"]
    if not isinstance(kind, str):
        raise InnersightError(f"kind is {shown(kind)}: give one of {', '.join(factorizations)}")
    if not isinstance(notes, list | tuple) or not all(isinstance(note, str) for note in notes):
        raise InnersightError(f"notes are {shown(notes)}: give a list of texts")
    if not isinstance(settings, Mapping):
        raise InnersightError(f"settings are {shown(settings)}: give values by their names")
    known = {"seed": 0, **factorizations.options(kind)}
    for name, value in settings.items():
        if name not in known or type(value) is not type(known[name]):
            raise InnersightError(f"{kind} has no setting {brief(name)}={shown(value)}")
    if "seed" not in settings:
        raise InnersightError(f"settings are {shown(settings)}: seed is missing")
    seed_of(settings["seed"])
    return kind, tuple(notes), dict(settings)


def _check(name: str, tensor: object, shape: tuple[int, ...], *, whole: bool) -> None:
    if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
        raise InnersightError(f"{name} is {shown(tensor)}: its shape must be {shape}")
    if tensor.dtype != (torch.int64 if whole else torch.float32):
        raise InnersightError(f"{name} holds {tensor.dtype}: it must hold {'int64' if whole else 'float32'}")
    if not bool(torch.isfinite(tensor).all()):
        raise InnersightError(f"{name} contains values that are not finite: the file was changed; fit again")


def _listed(names: Mapping[str, Any]) -> str:
    return brief(", ".join(sorted(map(str, names)))) or "none"
