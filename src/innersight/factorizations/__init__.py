"""Factorizations: vectors of activations as sums of a few directions, each of which is a concept of the layer.

They know tensors only. `innersight.factorizations.kinds` holds one file for each.
"""

from innersight.factorizations.agreement import Stability, stability
from innersight.factorizations.choice import COUNTS, Choice, choose_count
from innersight.factorizations.engine import fit
from innersight.factorizations.factorization import Factorization
from innersight.factorizations.kinds import factorizations
from innersight.factorizations.nnls import solve_nonnegative
from innersight.factorizations.variance import Explained, explained

__all__ = [
    "COUNTS",
    "Choice",
    "Explained",
    "Factorization",
    "Stability",
    "choose_count",
    "explained",
    "factorizations",
    "fit",
    "solve_nonnegative",
    "stability",
]
