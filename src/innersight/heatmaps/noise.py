"""Gradients of noisy copies of an image, and how well their mean is known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heatmaps.request import Request, relative_error
from innersight.quotients import precise


@dataclass(frozen=True)
class GradientMoments:
    """mean, variance and standard error of the mean of the pixel gradient, (B, C, H, W) each."""

    mean: Float[Tensor, "B C H W"]
    variance: Float[Tensor, "B C H W"]
    error: Float[Tensor, "B C H W"]


AT_ONCE = 4


def noisy(request: Request, noise: float, max_samples: int, max_error: float) -> GradientMoments:
    """Average the gradient over copies with Gaussian noise until its error is small.

    noise : standard deviation as a share of each image's range. It ends when, for every image, the standard error is
    below `max_error` of how much the mean varies over the image, after `max_samples` copies at the latest. An image's
    copies are the same whatever shares its batch; only their number may differ.
    """
    if not 0 < noise <= 10:
        raise InnersightError(f"noise={noise}: give a share of the image's range above 0 and up to 10, such as 0.15")
    if max_samples < 2:
        raise InnersightError(f"max_samples={max_samples}: give at least 2 noisy copies")
    x, stream = request.x, request.generator()
    spread = noise * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    first, second = (precise(torch.zeros_like(x)) for _ in range(2))
    count, running, done = torch.zeros(len(x), device=x.device), request.each, 0
    while len(running) and done < max_samples:
        copies = min(AT_ONCE, max_samples - done)
        steps = torch.stack([torch.randn(x.shape[1:], generator=stream) for _ in range(copies)]).to(x)
        shown = x[running] + spread[running, None, None, None] * steps[:, None]
        _, slopes = request.slopes(shown.flatten(0, 1), running.repeat(copies))
        slopes = slopes.view(shown.shape)
        first[running] += slopes.sum(0)
        second[running] += slopes.square().sum(0)
        count[running] += copies
        done += copies
        now = _moments(first, second, count)
        unsure = [not relative_error(now.mean[i], now.error[i]) < max_error for i in running.tolist()]
        running = running[torch.tensor(unsure, device=x.device)]
    return _moments(first, second, count)


def _moments(first: Tensor, second: Tensor, count: Tensor) -> GradientMoments:
    n = count[:, None, None, None]
    mean = first / n
    variance = (second / n - mean.square()).clamp(min=0) * n / (n - 1).clamp(min=1)
    return GradientMoments(mean, variance, (variance / n).sqrt())
