"""Integrated gradients."""

import numpy as np
import torch

from innersight.errors import InnersightError
from innersight.heatmaps.request import BATCH, MethodOutput, Request, methods
from innersight.quotients import precise


@methods.register(
    "Integrated gradients",
    source="Sundararajan et al. 2017, arXiv:1703.01365",
    use="For signed shares that sum to the target; what looks like the grey baseline, it cannot find.",
    unit="TARGET",
    reads="passes",
    passes=32,
    quick={"steps": 4},
)
def integrated_gradients(request: Request, *, steps: int = 32) -> MethodOutput:
    """The gradient integrated along the straight path from a grey image, times the input's difference from it.

    The path begins at 0 of the network input; by Gauss-Legendre quadrature. The completeness gap, how far the sum is
    from the difference of the target between the ends, is a fact of the result.

    Parameters
    ----------
    request
        The batch.
    steps
        Points of the quadrature, 1 or more.

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
    return MethodOutput(values, facts={"completeness gap": request.completeness_gap(values)})
