"""Finer-CAM."""

from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.request import Request, UnfitError, methods


@methods.register(
    "Finer-CAM",
    source="Zhang et al. 2025, arXiv:2501.11309",
    use="For classes that look similar, such as breeds; shows what distinguishes this one.",
    unit="logits",
    reads="layer",
)
def finercam(request: Request, *, rivals: int = 3, strength: float = 1.0) -> Float[Tensor, "B h w"]:
    """Grad-CAM of a class minus the classes most similar to it.

    Parameters
    ----------
    request
        The batch.
    rivals
        How many classes of the nearest logits are subtracted, weighted by their probability among themselves.
    strength
        Factor of what is subtracted; 1 in the authors' code.

    """
    if rivals < 1:
        raise InnersightError(f"rivals={rivals}: finercam needs at least one other class")
    shared, classes = request.shared, request.shared.target.classes
    if classes is None:
        raise UnfitError("finercam compares classes; give a class as the target")

    def apart(outputs: Tensor) -> Tensor:
        own = classes.to(outputs.device)[:, None]
        mine = outputs.gather(1, own)
        others = (outputs - mine).abs().scatter(1, own, -1).argsort(dim=1, stable=True)[:, 1 : 1 + rivals]
        theirs = outputs.gather(1, others)
        return (theirs.softmax(1) * (mine - strength * theirs)).sum(1)

    gradient = shared.gradient(request.layer, f"finercam {rivals} {strength}", apart)
    return (gradient.mean((2, 3), keepdim=True) * request.activation).sum(1)
