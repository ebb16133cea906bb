"""Integrated gradients."""

import numpy as np
import torch

from innersight.errors import InnersightError
from innersight.heatmaps.request import BATCH, Answer, Request, methods
from innersight.quotients import precise


@methods.register(
    "Integrated gradients",
    source="Sundararajan et al. 2017",
    use='Signed shares that sum to the target; what "grey" hides, it cannot find.',
    unit="TARGET",
    reads="passes",
    quick={"steps": 4},
)
def integrated_gradients(request: Request, *, steps: int = 32) -> Answer:
    """The gradient along a straight way from grey, times the way.

    (arXiv:1703.01365.) Begins at 0 of the network input, by Gauss-Legendre quadrature of `steps` points. The
    completeness gap, how far the sum is from the difference of the two ends, is a fact of the result.
    """
    if steps < 1:
        raise InnersightError(f"steps={steps}: integrated gradients needs at least one point")
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = precise(torch.zeros_like(request.x))
    index = request.each
    at = [(float(point + 1) / 2, float(weight) / 2) for point, weight in zip(points, weights, strict=True)]
    together = max(1, BATCH // len(index))
    for i in range(0, steps, together):
        part = at[i : i + together]
        copies = torch.cat([request.x * point for point, _ in part])
        _, slopes = request.slopes(copies, index.repeat(len(part)))
        for (_, weight), own in zip(part, torch.split(slopes, len(index)), strict=True):
            total += weight * own
    values = (total * request.x).sum(1)
    return Answer(values, facts={"completeness gap": request.completeness_gap(values)})
