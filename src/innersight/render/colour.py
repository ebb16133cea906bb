"""Colour: how values become pixels, and the sentence that says which scale was used."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SEQUENTIAL, DIVERGING = "magma", "RdBu_r"


@dataclass(frozen=True)
class Scale:
    """Which value gets which end of a colour map.

    Values that are never negative run from 0 to `high` on a sequential map; signed ones from -high to high on a
    diverging map, so that zero is always the same colour. clipped : some values lie beyond the ends, where colours are
    clipped.
    """

    high: float
    signed: bool
    clipped: bool = False

    @property
    def low(self) -> float:
        """The value at the lower end."""
        return -self.high if self.signed else 0.0

    @property
    def colours(self) -> str:
        """Name of the matplotlib colour map."""
        return DIVERGING if self.signed else SEQUENTIAL

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}" + (" and beyond" if self.clipped else "")


def scale_of(values: Tensor, *, share: float = 1.0) -> Scale:
    """Return the scale that shows this share of `values` (any shape); non-finite values do not count."""
    finite = values[torch.isfinite(values)].abs().cpu().double()
    if not finite.numel():
        return Scale(1.0, signed=False)
    top = float(finite.max())
    high = float(np.quantile(finite.cpu().numpy(), share)) if share < 1 else top
    high = high or top
    return Scale(high or 1.0, bool((values < 0).any()), clipped=high < top)


def paint(values: Float[Tensor, "h w"], scale: Scale) -> UInt8[np.ndarray, "h w 3"]:
    """Colour one map."""
    from matplotlib import colormaps

    # In float64: what float32 holds may be twice as much, or a thousandth, of what it can hold.
    unit = (values.detach().cpu().double().numpy() / scale.high - scale.low / scale.high) / (2 if scale.signed else 1)
    return (colormaps[scale.colours](np.clip(unit, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def to_bytes(pixels: Float[Tensor, "*b c h w"]) -> UInt8[np.ndarray, "*b h w c"]:
    """Turn pixels in 0..1 (clipped) into bytes, channels last."""
    clipped = pixels.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)
    return clipped.movedim(-3, -1).contiguous().numpy()


def ramp(name: str, steps: int = 33) -> list[list[int]]:
    """Return `steps` evenly spaced RGB bytes of a colour map, for the browser."""
    from matplotlib import colormaps

    return [[round(255 * c) for c in colormaps[name](i / (steps - 1))[:3]] for i in range(steps)]


def as_colour(images: Float[Tensor, "n C H W"], shown: Sequence[int]) -> UInt8[np.ndarray, "n H W 3"]:
    """Return images as uint8 (n, H, W, 3): the three channels `shown`."""
    return to_bytes(images[:, list(shown)])
