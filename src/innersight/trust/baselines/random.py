"""A random map."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight.trust.baselines import baselines


@baselines.register("Random", phrase="a random map")
def random(pixels: Float[Tensor, "C H W"], rng: np.random.Generator) -> Float[Tensor, "H W"]:
    """Independent uniform values for all pixels.

    Its expected score is exactly 0: the pixels that a random order deletes first and those that it deletes last are
    equally distributed, so on average insertion and deletion give the same curve.
    """
    return torch.from_numpy(rng.random(pixels.shape[1:]))
