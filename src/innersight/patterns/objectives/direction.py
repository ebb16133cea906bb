"""A direction in the space of a layer's units."""

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
    """Maximize a direction in unit space: the dot product times the squared cosine, averaged over locations.

    From Python: `along(layer, vector)`.
    """
    vectors = torch.stack([normalised(_vector(term), 0) for term in rows.terms]).to(rows.at.device)

    def read(values: Tensor) -> Tensor:
        own = values[rows.at].float()
        dot = torch.einsum("nuhw,nu->nhw", own, vectors)
        cosine = torch.einsum("nuhw,nu->nhw", normalised(own, 1), vectors)
        values = dot * cosine.clamp(min=0.1).square()
        return values.mean((1, 2))

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


def _vector(term: Term) -> Tensor:
    assert isinstance(term.given, Tensor)
    return term.given
