"""VarGrad."""

from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.noise import noisy
from innersight.heatmaps.request import Request, methods


@methods.register(
    "VarGrad",
    source="Adebayo et al. 2018, arXiv:1810.03307",
    use="To see where a small change would change the explanation itself.",
    unit="(TARGET per unit of input) squared",
    reads="passes",
    quick={"copies": 4},
)
def vargrad(request: Request, *, noise: float = 0.15, copies: int = 16) -> Float[Tensor, "B H W"]:
    """The variance of the gradient over noisy copies.

    noise : standard deviation as a share of the image's range. copies : of each image. The sum over channels.
    """
    if not 0 < noise <= 10 or copies < 2:
        raise InnersightError(f"noise={noise}, copies={copies}: give a positive share and at least 2 copies")
    return noisy(request, noise, copies, 0.0).variance.sum(1)
