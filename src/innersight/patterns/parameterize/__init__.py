"""How an image is written as free numbers, one file for each way; and the colours and spectrum of natural images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.image import Image
from innersight.input_spec import InputSpec
from innersight.patterns.options import Statistics
from innersight.registry import Registry

LEAST = 16  # pixels a side, below which no slope of frequencies can be read


# `measure_statistics` of seven photographs, squashed to 128 px: astronaut, cat, coffee, rocket and motorcycle of
# scikit-image, china and flower of scikit-learn.
PHOTOGRAPHS = Statistics(
    mean=(0.464, 0.384, 0.341),
    axes=((0.270, 0.235, 0.218), (-0.129, 0.040, 0.116), (0.011, -0.036, 0.025)),
    slopes=(1.25, 1.36, 1.34),
)


@dataclass(frozen=True)
class Parameterization:
    """What an optimizer changes instead of pixels.

    start : the free numbers of one random image. decode : a batch of them to pixels (B, C, H, W) in 0..1.
    encode : the free numbers of an image (C, H, W) in 0..1, as near as it can be written. lr : learning rate.
    """

    start: Callable[[torch.Generator], Tensor]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    lr: float


# From the shape of the image, the statistics, and the largest contrast, 0 for no bound.
Make = Callable[[tuple[int, int, int], Statistics, float], Parameterization]
parameterizations: Registry[Make] = Registry("parameterization", __name__)


def logit(pixels: Tensor) -> Tensor:
    """Undo a sigmoid; black and white become strong, not infinite."""
    return pixels.clamp(0.02, 0.98).logit()


def photograph_statistics(channels: int) -> Statistics:
    """Return the statistics of colour photographs; for other than 3 channels, equal and uncorrelated ones."""
    if channels == 3:
        return PHOTOGRAPHS
    spread, slope = sum(sum(v * v for v in axis) for axis in PHOTOGRAPHS.axes), PHOTOGRAPHS.slopes[0]
    alone = tuple(tuple((spread / 3) ** 0.5 if i == j else 0.0 for j in range(channels)) for i in range(channels))
    return Statistics((0.5,) * channels, alone, (slope,) * channels)


def measure_statistics(images: Sequence[Image], spec: InputSpec) -> Statistics:
    """Return the colour and frequency statistics of images as the network sees them.

    Parameters
    ----------
    images : sequence of Image
        One or more.
    spec : InputSpec
        The network's input; 16 pixels or more a side.

    Returns
    -------
    Statistics
        For `PatternOptions.statistics`.

    Raises
    ------
    InnersightError
        Without images, and for a smaller input.

    Notes
    -----
    The axes are the principal components of the colours; the slopes are fitted to the mean amplitude of each
    *decorrelated* channel over rings of frequencies, from two cycles per image to half the highest frequency.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.image import as_image
    >>> from innersight.patterns import measure_statistics
    >>> from innersight.toons import draw
    >>> found = measure_statistics([as_image(draw("ambra", 7).pixels)], ins.InputSpec(80, 80))
    >>> len(found.mean), all(0 <= value <= 1 for value in found.mean)
    (3, True)

    """
    if not images:
        raise InnersightError("no images to measure colours and frequencies of")
    if min(spec.height, spec.width) < LEAST:
        raise InnersightError(
            f"{spec.height}x{spec.width} pixels are too few to measure frequencies: {LEAST} are needed"
        )
    # In float64: the squared mean is taken off a sum over all pixels of all images.
    first, second = torch.zeros(spec.channels).double(), torch.zeros(spec.channels, spec.channels).double()
    count = 0
    for image in images:
        pixels = _pixels(image, spec).flatten(1).double()
        first, second, count = first + pixels.sum(1), second + pixels @ pixels.T, count + pixels.shape[1]
    mean = first / count
    values, vectors = (part.float() for part in torch.linalg.eigh(second / count - mean[:, None] * mean[None]))
    mean = mean.float()
    values, vectors = values.flip(0).clamp(min=1e-6), vectors.flip(1)
    vectors = vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)
    width = spec.width // 2 * 2
    amplitude = torch.zeros(spec.channels, spec.height, width // 2 + 1)
    window = torch.hann_window(spec.height)[:, None] * torch.hann_window(width)[None]
    for image in images:
        own = torch.einsum("chw,cd->dhw", _pixels(image, spec)[..., :width] - mean[:, None, None], vectors)
        amplitude += torch.fft.rfft2(own * window).abs()
    axes = (vectors * values.sqrt()).T
    return Statistics(tuple(mean.tolist()), tuple(map(tuple, axes.tolist())), _slopes(amplitude))


def frequencies(height: int, width: int) -> Float[Tensor, "H F"]:
    """Return the frequency of each coefficient of `rfft2`, in cycles a pixel."""
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    frequency: Tensor = (fy * fy + fx * fx).sqrt()
    return frequency


def _pixels(image: Image, spec: InputSpec) -> Tensor:
    return spec.denormalise(image.tensor(spec)[None])[0]


def _slopes(amplitude: Tensor) -> tuple[float, ...]:
    """Fit log amplitude to log frequency, each ring of frequencies weighing the same."""
    height, width = amplitude.shape[1], 2 * (amplitude.shape[2] - 1)
    frequency = frequencies(height, width)
    edges = torch.logspace(math.log10(2 / min(height, width)), math.log10(0.25), 9)
    rings = torch.bucketize(frequency, edges)
    inside = [ring for ring in range(1, len(edges)) if bool((rings == ring).any())]
    x = torch.stack([frequency[rings == ring].mean() for ring in inside]).log()
    y = torch.stack([amplitude[:, rings == ring].mean(1) for ring in inside], 1).clamp(min=1e-9).log()
    x = x - x.mean()
    slopes: list[float] = (-(y * x).sum(1) / (x * x).sum()).tolist()
    return tuple(slopes)
