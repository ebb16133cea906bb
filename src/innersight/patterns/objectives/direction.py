"""A direction in the space of a layer's units."""

from dataclasses import replace

import torch
from torch import Tensor

from innersight.address import Address
from innersight.errors import InnersightError
from innersight.patterns.objectives import Objective, Read, Rows, Term, objectives
from innersight.quotients import normalised


@objectives.register(
    "Direction in unit space",
    source="Carter et al. 2019, https://distill.pub/2019/activation-atlas",
    use="for concepts, and for combinations of units",
    takes="layer",
    given=Tensor,
)
def direction(rows: Rows) -> Read:
    """Maximize a direction in unit space: the dot product times the squared cosine, at a location or averaged over all.

    From Python: `along(layer, vector)`.
    """
    vectors = torch.stack([normalised(_vector(term), 0) for term in rows.terms]).to(rows.at.device)

    locations = [term.address.location if isinstance(term.address, Address) else None for term in rows.terms]

    def read(values: Tensor) -> Tensor:
        own = values[rows.at].float()
        dot = torch.einsum("nuhw,nu->nhw", own, vectors)
        cosine = torch.einsum("nuhw,nu->nhw", normalised(own, 1), vectors)
        along = dot * cosine.clamp(min=0.1).square()
        means = along.mean((1, 2))
        single = [means[row] if at is None else along[row, *at] for row, at in enumerate(locations)]
        return torch.stack(single) if any(locations) else means

    return read


def along(layer: str, vector: Tensor) -> Objective:
    """Return the objective of a direction in a layer's unit space.

    Parameters
    ----------
    layer : str
        Name of the layer.
    vector : Tensor
        (units,), finite and not zero; its length does not matter.

    Returns
    -------
    Objective
        Which can be added to others.

    Raises
    ------
    InnersightError
        For anything but a vector.

    Examples
    --------
    >>> along("stage2", torch.ones(16))
    Objective('direction(stage2)')

    """
    if not isinstance(vector, Tensor) or vector.ndim != 1:
        raise InnersightError(f"direction({layer}): give a vector with one number for each unit")
    return Objective((Term("direction", Address(layer), given=vector.detach().float().cpu()),))


def driven(objective: Objective) -> Objective:
    """Return the objective with concepts replaced by their directions in the layer that they were found in.

    A concept that is not there at all has no gradient; its direction has one everywhere.
    """
    return Objective(tuple(map(_driven, objective.terms)))


def _driven(term: Term) -> Term:
    address = term.address
    if term.kind != "unit" or not isinstance(address, Address) or not isinstance(term.given, Tensor):
        return term
    layer = address.layer.rpartition("~")[0]
    return replace(term, kind="direction", address=Address(layer, None, address.location))


def _vector(term: Term) -> Tensor:
    assert isinstance(term.given, Tensor)
    return term.given
