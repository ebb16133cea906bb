"""How activation vectors are factorized. One file each.

A factorization takes vectors (N, units) in float64 on the CPU, finite, not all equal, the largest value 1 or -1, the
number of concepts and a seed, and returns a `Fit`. What else it states says how vectors become codes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from innersight.registry import Registry


@dataclass(frozen=True, eq=False)
class Fit:
    """What a factorization found.

    directions : (concepts, units), not zero; their length does not matter. offset : (units,) subtracted from vectors
    before they are coded. tensors : what else the coder takes, as the entry's `shapes` states. notes : for the user.
    """

    directions: Float[Tensor, "concepts units"]
    offset: Float[Tensor, " units"]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


factorizations: Registry[Callable[..., Fit]] = Registry(
    "factorization",
    "innersight.factorizations.kinds",
    encode=None,
    shapes={},
    sized=(),
    check=None,
    most=None,
    limits="",
)
"""Beside its title, an entry states:

- encode : a function of vectors (N, units) less the offset, of the directions (concepts, units) and of `tensors`, that
  returns codes (N, concepts). It runs in forward passes: differentiable, and no row may depend on another.
- shapes : of `tensors`, by name: a tuple of "concepts" and "units"; an empty one stands for a whole number.
- check : a function of `tensors`, read from a file, and the number of concepts; it raises InnersightError.
- sized : which of them have the size of activations.
- most : how many concepts it can find, a function of the numbers of vectors and units.
- limits : what its concepts cannot tell.
"""
