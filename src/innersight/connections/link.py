"""One link: the connections of units in one direction to all units of one layer."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief

CLASSES = "class"
"""The layer at the other end of a link to the class scores."""

Direction = Literal["in", "out"]
DEFINITION = (
    "By weight: size is the L2 norm of the weights between two units; value is their sum, by which a constant map is "
    "multiplied. A frozen batch norm that follows is folded in. By attribution: value is gradient times activation of "
    "the source unit, summed over its locations, for the mean (or peak) of the target unit's map, averaged over the "
    "images with the 95% bootstrap interval; size is its absolute value. Share: part of the sizes of all units at the "
    "other end."
)


@dataclass(frozen=True, eq=False)
class Link:
    """The connections of units in one direction to all units of one layer.

    Attributes
    ----------
    direction : str
        "in" for what drives the units, "out" for what they drive.
    by : str
        "weight" or "attribution"; see `DEFINITION`.
    layer : str
        At the other end; `CLASSES` for the scores of the classes, `innersight.tap.IMAGE` for the image's bands.
    value : Tensor
        (units, others), signed: positive values activate.
    size : Tensor
        (units, others), 0 or more, what they are ranked by.
    samples : Tensor or None
        (images, units, others), the value on each image; None for weights.
    made_by : str
        The layer whose weights they are; "" for attributions.
    folded : bool
        Whether a batch norm is folded in.

    """

    direction: Direction
    by: Literal["weight", "attribution"]
    layer: str
    value: Tensor
    size: Tensor
    samples: Tensor | None = None
    made_by: str = ""
    folded: bool = False

    __repr__ = brief

    @classmethod
    def of_effects(cls, direction: Direction, layer: str, samples: Float[Tensor, "P units others"]) -> "Link":
        """Return a link by attribution.

        Parameters
        ----------
        direction
            "in" or "out".
        layer
            At the other end.
        samples
            (images, units, others), gradient times activation on each image.

        """
        value = samples.double().mean(0).float()
        return cls(direction, "attribution", layer, value, value.abs(), samples)

    @classmethod
    def of_weights(cls, direction: Direction, wire: tap.Wire, units: list[int]) -> "Link":
        """Return a link by weight.

        Parameters
        ----------
        direction
            "in" or "out".
        wire
            The weights of one convolution or matrix product.
        units
            Numbers of the units whose connections are kept.

        """
        incoming = direction == "in"
        total, norm = (part[units] if incoming else part.T[units] for part in (wire.total, wire.norm))
        layer = wire.source if incoming else wire.target
        return cls(direction, "weight", layer, total, norm, None, wire.target, wire.folded)

    def __str__(self) -> str:
        """Return the link as a heading."""
        ends = "from" if self.direction == "in" else "to"
        other = "the classes" if self.layer == CLASSES else self.layer
        text = f"by {self.by}, {ends} {other}"
        own = f" (weights of {self.made_by})" if self.made_by not in ("", self.layer) else ""
        return text + own + (", batch norm folded in" if self.folded else "")
