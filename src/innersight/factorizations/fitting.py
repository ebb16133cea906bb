"""Fits a factorization with a given number of concepts to vectors that it has checked."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.factorizations.factorization import Factorization
from innersight.factorizations.kinds import Fit, factorizations
from innersight.quotients import normalised
from innersight.scalars import seed_of, shown

CHUNK = 4096


def fit_count(vectors: Tensor, by: str, count: int, seed: int, options: Mapping[str, Any]) -> Factorization:
    """Return what `fit` does, for a given number of concepts."""
    entry = factorizations.entry(by)
    factorizations.check_options(by, options)
    settings = {"seed": seed_of(seed), **factorizations.options(by), **options}
    values = checked_vectors(vectors)
    _check_count(by, count, values)
    # Nothing may depend on the size of activations, and libraries have constants of their own.
    size = values.abs().max()
    fitted = entry.function(values / size, count, seed, **options)
    found = _finished(by, fitted, float(size), settings, (*_constant(values), *fitted.notes))
    return _sorted(found, values)


def checked_vectors(vectors: Any) -> Float[Tensor, "n units"]:
    """Return vectors in float64 on the CPU. Raises InnersightError for what cannot be factorized."""
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or not vectors.numel():
        raise InnersightError(f"vectors are {shown(vectors)}: give a tensor of shape (N, units), without an empty side")
    if vectors.is_complex() or vectors.dtype == torch.bool:
        raise InnersightError(f"vectors hold {vectors.dtype}: give real numbers")
    values = vectors.detach().cpu().double()
    bad = int((~torch.isfinite(values).all(1)).sum())
    if bad:
        raise InnersightError(
            f"{bad:,} of {len(values):,} vectors contain nan or infinity: leave those images out, or run the network in"
            " float32"
        )
    if not bool(values.any()):
        raise InnersightError("all activations are zero, so there is nothing to factorize: choose another layer")
    if bool((values == values[0]).all()):
        raise InnersightError("all vectors are equal, so there is nothing to tell apart: give other images or layers")
    return values


def _check_count(by: str, count: int, vectors: Float[Tensor, "n units"]) -> None:
    number, units = vectors.shape
    if count < 1:
        raise InnersightError(f"count={count}: give 1 or more")
    most = factorizations.entry(by).most(number, units)
    if count > most:
        few = f"{number:,} vectors of {units:,} units have at most {most:,} concepts by {by}"
        raise InnersightError(f"count={count}: {few}; give more images or a smaller count")


def _constant(vectors: Float[Tensor, "n units"]) -> tuple[str, ...]:
    number = int((vectors == vectors[0]).all(0).sum())
    return (f"{number:,} of {vectors.shape[1]:,} units are constant",) if number else ()


def _finished(by: str, fitted: Fit, size: float, settings: Mapping[str, Any], notes: tuple[str, ...]) -> Factorization:
    empty = int((~fitted.directions.any(1)).sum())
    if empty:
        few = f"{by} found {len(fitted.directions) - empty} concepts, not {len(fitted.directions)}"
        raise InnersightError(f"{few}: give that count, or more and more varied images")
    sized = factorizations.entry(by).sized
    tensors = {name: one * size if name in sized else one for name, one in fitted.tensors.items()}
    return Factorization(
        by,
        normalised(fitted.directions.double(), 1).float(),
        (fitted.offset * size).float(),
        {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()},
        notes,
        dict(settings),
    )


def _sorted(found: Factorization, vectors: Float[Tensor, "n units"]) -> Factorization:
    """Return the concepts in the order of their share of the vectors' squared size."""
    # Not squared as they are: that of 1e-200 is zero.
    codes = torch.cat([found.encode(some) for some in torch.split(vectors, CHUNK)])
    order = (codes / codes.abs().max()).square().sum(0).argsort(descending=True, stable=True)
    shapes = factorizations.entry(found.kind).shapes
    tensors = {name: one[order] if shapes[name][:1] == ("concepts",) else one for name, one in found.tensors.items()}
    return Factorization(found.kind, found.directions[order], found.offset, tensors, found.notes, found.settings)
