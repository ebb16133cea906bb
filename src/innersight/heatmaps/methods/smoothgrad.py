"""SmoothGrad."""

from innersight.errors import InnersightError
from innersight.heatmaps.noise import noisy
from innersight.heatmaps.request import Answer, Request, methods


@methods.register(
    "SmoothGrad",
    source="Smilkov et al. 2017, arXiv:1706.03825",
    use="When saliency is a cloud of dots; steadier, though not truer.",
    unit="TARGET per unit of input",
    reads="passes",
    quick={"most": 8},
)
def smoothgrad(request: Request, *, noise: float = 0.15, most: int = 64, error: float = 0.3) -> Answer:
    """The mean gradient saliency of noisy copies.

    noise : standard deviation as a share of the image's range. It ends when the standard error is below `error` of
    how much the gradient varies over the image, after `most` copies at the latest. Gradients are averaged with
    their sign, the largest of the channels is shown.
    """
    if not 0 < noise <= 10:
        raise InnersightError(f"noise={noise}: give a positive share of the image's range, such as 0.15")
    moments = noisy(request, noise, most, error)
    strongest = moments.mean.abs().argmax(1, keepdim=True)
    return Answer(moments.mean.abs().gather(1, strongest)[:, 0], moments.error.gather(1, strongest)[:, 0])
