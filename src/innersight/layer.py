"""What is known of one layer: units, grid, receptive field, share of compute."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["conv", "linear", "block", "activation", "norm", "pool", "concept", "other"]


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one location of a layer depends on, (height, width) in pixels of the network's input.

    Attributes
    ----------
    size : tuple of int
        The receptive field, cut off at the border of the image.
    effective : tuple of int
        The part that holds 95% of the gradient's energy (Luo et al. 2016, arXiv:1701.04128).
    stride : tuple of int
        Distance between the receptive fields of neighbouring locations.
    middle : tuple of float
        Centre of the receptive field of location ((h - 1) // 2, (w - 1) // 2), from the upper left corner.

    """

    size: tuple[int, int]
    effective: tuple[int, int]
    stride: tuple[int, int]
    middle: tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """A named module whose output has units, as `innersight.layers` lists it.

    Attributes
    ----------
    name : str
        Dotted name of the module; `NAME#2` for the second call of a module that is called several times.
    kind, role : str
        Name of the module's class; and conv, linear, block, activation, norm, pool, concept or other.
    units : int
        Channels of a convolution; features of a linear layer or of the token stream.
    grid : tuple of int
        (h, w) of its activation maps for the model's own input size; (1, 1) for a linear layer.
    parameters : int
        Weights in the module and everything inside it.
    prefix : int
        Tokens before those of the grid, such as a class token.
    axes, part : str
        How its output is laid out, see `innersight.tap.Layout`; and which of several outputs is read, such as "[0]".
    receptive_field : ReceptiveField or None
        The part of the image that one location depends on; None where it was not measured.
    compute_share : float or None
        The layer's share of the network's multiplications, 0 to 1; None where it was not measured.

    Examples
    --------
    >>> import innersight as ins
    >>> last = ins.layers(ins.load("small:8"))[-2]
    >>> last.name, last.units, last.grid, last.receptive_field.stride
    ('stage4', 32, (10, 10), (8, 8))

    """

    name: str
    kind: str
    role: Role
    units: int
    grid: tuple[int, int]
    parameters: int
    prefix: int = 0
    axes: str = "buhw"
    part: str = ""
    receptive_field: ReceptiveField | None = None
    compute_share: float | None = None
