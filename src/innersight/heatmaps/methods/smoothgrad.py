"""SmoothGrad."""

from innersight.heatmaps.noise import noisy
from innersight.heatmaps.request import MethodOutput, Request, methods


@methods.register(
    "SmoothGrad",
    source="Smilkov et al. 2017, arXiv:1706.03825",
    use="Where saliency is too noisy to read; smoother, though not more faithful.",
    unit="TARGET per unit of input",
    reads="passes",
    passes=64,
    quick={"max_samples": 8},
)
def smoothgrad(request: Request, *, noise: float = 0.15, max_samples: int = 64, max_error: float = 0.3) -> MethodOutput:
    """The mean gradient saliency of noisy copies.

    Gradients are averaged with their sign, and the largest of the channels is shown.

    Parameters
    ----------
    request
        The batch.
    noise
        Standard deviation, as a share of the image's range, above 0 and up to 10.
    max_samples
        Noisy copies after which it ends at the latest, 2 or more.
    max_error
        It ends when the standard error is below this share of how much the gradient varies over the image.

    """
    moments = noisy(request, noise, max_samples, max_error)
    strongest = moments.mean.abs().argmax(1, keepdim=True)
    return MethodOutput(moments.mean.abs().gather(1, strongest)[:, 0], moments.error.gather(1, strongest)[:, 0])
