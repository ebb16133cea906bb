"""Different images of the same thing."""

import torch
from torch import Tensor

from innersight.address import Address
from innersight.errors import InnersightError
from innersight.patterns.objectives import Objective, Read, Rows, Term, objectives
from innersight.quotients import normalised, scaled


@objectives.register(
    "Diversity",
    source="Olah et al. 2017, https://distill.pub/2017/feature-visualization; Gatys et al. 2015, arXiv:1508.06576",
    use="added to another objective, to see different images of it",
    takes="layer",
    alone=False,
    example="LAYER:0 + diverse(LAYER)",
)
def diverse(rows: Rows) -> Read:
    """Make patterns that are drawn together differ: minus the mean cosine similarity of their Gram matrices.

    Set by `variants`.
    """
    together = (rows.together[:, None] == rows.together[None]) & ~torch.eye(len(rows.at), dtype=torch.bool).to(
        rows.at.device
    )

    def read(values: Tensor) -> Tensor:
        own = scaled(values[rows.at].float().flatten(2), (1, 2))
        gram = normalised((own @ own.transpose(1, 2)).flatten(1), 1)
        cosine = gram @ gram.T
        return -(cosine * together).sum(1) / together.sum(1).clamp(min=1)

    return read


def differing(target: Objective, strength: float, layer: str | None = None) -> Objective:
    """Return the term that makes images of `target` differ, read in its own layer, or in `layer` for a class."""
    where = target.terms[0].layer or layer
    if where is None:
        raise InnersightError(f"{target}: variants of a class need a layer to differ in")
    return Objective((Term("diverse", Address(where), strength),))
