"""Ways to lay vectors out in two dimensions. One file each, one registered function.

A layout takes unit vectors (vectors, units) float64 and a seed, and returns (vectors, 2).
"""

from collections.abc import Callable

import numpy as np

from innersight.registry import Registry

Arrange = Callable[[np.ndarray, int], np.ndarray]
layouts: Registry[Arrange] = Registry("layout", "innersight.atlas.layouts")
