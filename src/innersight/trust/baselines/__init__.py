"""Maps that know nothing of the network: what a heatmap method must beat. One file each, one registered function.

A baseline map takes an image's pixels (C, H, W) in 0..1 and a random generator, and returns values (h, w).
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from innersight.registry import Registry

Baseline = Callable[[Tensor, np.random.Generator], Tensor]
baselines: Registry[Baseline] = Registry("baseline map", "innersight.trust.baselines", phrase="")
"""Beside its title, an entry states its phrase: what it is called in a sentence, "a random map"."""
