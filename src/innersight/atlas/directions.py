"""The direction in unit space that a cell is drawn along."""

import torch
from jaxtyping import Float
from torch import Tensor

SHRINKAGE = 0.5  # towards the identity; with less, patterns follow what is rare in the layer, and are noise


def whitened(means: Float[Tensor, "cells units"], vectors: Float[Tensor, "n units"]) -> Float[Tensor, "cells units"]:
    """Return what tells the mean vector of each cell from the layer's other vectors.

    Units that are often active together count less: the means, less the mean of all vectors, times the inverse of the
    layer's covariance (Carter et al. 2019). The covariance is averaged with the identity times the mean variance, so
    that it can be inverted whatever the sample.

    means : of the cells. vectors : of the sample. Returned in float32, 0 for units that never change.
    """
    low, high = vectors.aminmax(dim=0)
    changing = low < high
    own, middle = vectors[:, changing].double(), vectors[:, changing].double().mean(0)
    covariance = (own - middle).T @ (own - middle) / max(1, len(own) - 1)
    variance = covariance.diagonal().mean()
    shrunk = (1 - SHRINKAGE) * covariance / variance + SHRINKAGE * torch.eye(len(covariance), dtype=torch.float64)
    found = torch.zeros(means.shape, dtype=torch.float64)
    centred = (means[:, changing].double() - middle) / variance.sqrt()
    found[:, changing] = torch.linalg.solve(shrunk, centred.T).T
    return found.float()
