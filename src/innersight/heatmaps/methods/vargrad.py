"""VarGrad."""

from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.noise import noisy
from innersight.heatmaps.request import Request, methods


@methods.register(
    "VarGrad",
    source="Adebayo et al. 2018, arXiv:1810.03307",
    use="To see where a small change of the image would change its saliency.",
    unit="(TARGET per unit of input) squared",
    reads="passes",
    passes=16,
    quick={"samples": 4},
)
def vargrad(request: Request, *, noise: float = 0.15, samples: int = 16) -> Float[Tensor, "B H W"]:
    """The variance of the gradient over noisy copies, summed over channels.

    Parameters
    ----------
    request
        The batch.
    noise
        Standard deviation, as a share of the image's range, above 0 and up to 10.
    samples
        Noisy copies of each image, 2 or more.

    """
    if samples < 2:
        raise InnersightError(f"samples={samples}: give at least 2 noisy copies")
    return noisy(request, noise, samples, 0.0).variance.sum(1)
