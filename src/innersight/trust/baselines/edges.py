"""The edges of the image."""

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.trust.baselines import baselines


@baselines.register("Edges", phrase="an edge map")
def edges(pixels: Float[Tensor, "C H W"], rng: np.random.Generator) -> Float[Tensor, "H W"]:
    """The magnitude of the brightness gradient, by central differences.

    Many heatmaps look convincing because they trace edges, for which no network is needed (Adebayo et al. 2018,
    arXiv:1810.03292).
    """
    del rng
    grey = F.pad(pixels.mean(0)[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return ((grey[1:-1, 2:] - grey[1:-1, :-2]) ** 2 + (grey[2:, 1:-1] - grey[:-2, 1:-1]) ** 2).sqrt()
