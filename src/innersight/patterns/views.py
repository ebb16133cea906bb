"""What a network is shown of an image at an update: a random view, through a window where not all is needed."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.address import Address
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.patterns.objectives import Objective, Term
from innersight.patterns.options import Views
from innersight.receptive_field import receptive_fields

LARGEST = 0.6  # of the image; beyond it a window saves too little
NARROW = 0.3  # of the side: units that see no more are optimized through parts of half the side
ROUNDING = 256  # units in the last place by which an activation may differ between images of two sizes
LEAST = 64  # pixels of its side: smaller parts cost as much as the rest of an update


def draw(views: Views, generator: torch.Generator, steps: int) -> Float[Tensor, "steps 4"]:
    """Return (shift x, shift y, zoom, rotation) for every step of one image; shifts in half sides."""
    uniform = torch.rand((steps, 4), generator=generator) * 2 - 1
    reach = torch.tensor([2 * views.shift, 2 * views.shift, views.zoom, math.radians(views.rotate)])
    draws = uniform * reach + torch.tensor([0.0, 0.0, 1.0, 0.0])
    if views.crop < 1:
        # A part of the image seen at full size: zoomed in, its middle anywhere where it still fits.
        side, where = torch.rand((steps, 1), generator=generator), torch.rand((steps, 2), generator=generator)
        side = views.crop + (1 - views.crop) * side
        draws[:, 2:3] /= side
        draws[:, :2] += (2 * where - 1) * (1 - side)
    return draws


@dataclass(frozen=True)
class Window:
    """The part of an image that is fed to the network: top, left, height, width in pixels.

    roams : it lies elsewhere at every update, anywhere in the image, and at `top`, `left` only at the first.
    """

    top: int
    left: int
    height: int
    width: int
    roams: bool = False

    @property
    def kind(self) -> tuple[int, int, bool]:
        """What images that share a batch have in common."""
        return self.height, self.width, self.roams


def view(
    pixels: Float[Tensor, "B C H W"],
    draws: Float[Tensor, "B 4"],
    windows: Float[Tensor, "B 4"] | None = None,
    size: tuple[int, int] | None = None,
    *,
    pad: str = "reflection",
) -> Float[Tensor, "B C h w"]:
    """Return every image seen under its own draw, or of it a window of `size`.

    windows : (height, width, middle y, middle x) of each window, as fractions of the image and of its half sides.
    """
    dx, dy, zoom, rotation = draws.unbind(1)
    aspect = pixels.shape[2] / pixels.shape[3]
    cos, sin = rotation.cos() / zoom, rotation.sin() / zoom
    matrix = torch.stack([cos, -sin * aspect, dx, sin / aspect, cos, dy], 1).view(-1, 2, 3)
    if windows is not None:
        height, width, middle_y, middle_x = windows.unbind(1)
        zero, one = torch.zeros_like(height), torch.ones_like(height)
        inner = torch.stack([width, zero, middle_x, zero, height, middle_y, zero, zero, one], 1).view(-1, 3, 3)
        matrix = matrix @ inner
    shape = [*pixels.shape[:2], *(size or pixels.shape[2:])]
    grid = F.affine_grid(matrix.to(pixels), shape, align_corners=False)
    if pad == "zeros":
        return F.grid_sample(pixels - 0.5, grid, padding_mode=pad, align_corners=False) + 0.5
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=pad, align_corners=False)


class Windows:
    """The windows of objectives on images of one shape. What a layer sees is measured once, when first asked for."""

    def __init__(self, model: Model, shape: tuple[int, int, int]) -> None:
        self._model, self._shape = model, shape
        self._fields: dict[str, ReceptiveField] = {}
        self._roams: dict[str, bool] = {}

    def of(self, objective: Objective) -> tuple[Objective, Window] | None:
        """Return what is to be optimized through a window, and the window; None where all of the image is needed."""
        units = [term.address for term in objective.terms if term.kind == "unit" and isinstance(term.address, Address)]
        if len(units) < len(objective.terms):
            return None
        if len(units) == 1 and units[0].location is not None:
            return _fixed(self._model, objective, units[0], self._shape, self._field(units[0].layer).stride)
        if any(address.location is not None for address in units):
            return None
        height, width = self._half
        if min(height, width) < LEAST or not all(self._may_roam(address.layer) for address in units):
            return None
        return objective, Window(0, 0, height, width, roams=True)

    @property
    def _half(self) -> tuple[int, int]:
        return self._shape[1] // 2, self._shape[2] // 2

    def _field(self, layer: str) -> ReceptiveField:
        if layer not in self._fields:
            self._fields |= receptive_fields(self._model, [layer])
        return self._fields[layer]

    def _may_roam(self, layer: str) -> bool:
        if layer not in self._roams:
            seen = self._field(layer).size
            little = all(seen[axis] <= NARROW * self._shape[1 + axis] for axis in (0, 1))
            self._roams[layer] = little and _same_in_part(self._model, layer, self._shape, self._half)
        return self._roams[layer]


def _same_in_part(model: Model, layer: str, shape: tuple[int, int, int], part: tuple[int, int]) -> bool:
    """Return whether the middle location of a part of an image has the values it has in the whole image."""
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    with torch.no_grad():
        whole = tap.capture(model, x, [layer]).activations[layer]
        try:
            alone = tap.capture(model, x[:, :, : part[0], : part[1]], [layer]).activations[layer]
        except tap.DEFEATED:
            return False
    # The receptive fields of the locations in the middle do not reach beyond the edges.
    h, w = alone.shape[2:]
    inner, truth = (tensor[:, :, (h - 1) // 2, (w - 1) // 2] for tensor in (alone, whole))
    return _alike(inner, truth, whole)


def _fixed(
    model: Model, objective: Objective, address: Address, shape: tuple[int, int, int], stride: tuple[int, int]
) -> tuple[Objective, Window] | None:
    """Return the window that holds all that a `layer:unit@y,x` sees, and the objective counted in its grid.

    The window begins at a multiple of the layer's stride. That nothing outside it matters is shown by filling that with
    NaN, which passes every ReLU; and that the window alone gives the same value, by comparing the two. None where that
    fails (global pooling, attention, padding that depends on the size), and where the window is most of the image.
    """
    layer, location, unit = address.layer, address.location, address.unit
    assert location is not None
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    window = _seen(model, layer, location, x, stride)
    if window is None or window.height * window.width > LARGEST * shape[1] * shape[2]:
        return None
    inner = moved(objective, window, stride)
    own = inner.terms[0].address
    assert isinstance(own, Address)
    assert own.location is not None
    with torch.no_grad():
        maps = tap.capture(model, x, [layer]).activations[layer][:, unit]
        cut = x[:, :, window.top : window.top + window.height, window.left : window.left + window.width]
        try:
            alone = tap.capture(model, cut, [layer]).activations[layer]
        except tap.DEFEATED:
            return None
    if not (own.location[0] < alone.shape[2] and own.location[1] < alone.shape[3]):
        return None
    found = alone[:, unit, own.location[0], own.location[1]]
    return (inner, window) if _alike(found, maps[:, location[0], location[1]], maps) else None


def _alike(found: Tensor, truth: Tensor, maps: Tensor) -> bool:
    """Return whether values (...) are those that are true, up to a part of how much the maps (..., h, w) vary."""
    varies = maps.amax((-2, -1)) - maps.amin((-2, -1))
    rounding = ROUNDING * torch.finfo(maps.dtype).eps * maps.abs().amax((-2, -1))
    return bool(((found - truth).abs() <= 1e-3 * varies + rounding).all())


def _seen(model: Model, layer: str, location: tuple[int, int], x: Tensor, stride: tuple[int, int]) -> Window | None:
    """Grow a window from where the image has a gradient, a stride at a time, until NaN outside no longer matters."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_(True)
        values = tap.capture(model, leaf, [layer]).activations[layer][:, :, location[0], location[1]]
        (gradient,) = tap.gradients(model, values.square().sum(), [leaf])
    lit = gradient.abs().sum((0, 1)) > 0
    if not lit.any():
        return None
    height, width = lit.shape
    edges: list[tuple[int, int]] = []
    for axis, side in ((1, height), (0, width)):
        inside = lit.any(axis).nonzero().flatten()
        step = stride[len(edges)]
        edges.append((int(inside[0]) // step * step, min(side, -(-(int(inside[-1]) + 1) // step) * step)))
    (top, bottom), (left, right) = edges
    while bottom - top < height or right - left < width:
        outside = x.clone()
        kept = outside[:, :, top:bottom, left:right].clone()
        outside.fill_(torch.nan)
        outside[:, :, top:bottom, left:right] = kept
        with torch.no_grad():
            values = tap.capture(model, outside, [layer]).activations[layer][:, :, location[0], location[1]]
        if bool(torch.isfinite(values).all()):
            return Window(top, left, bottom - top, right - left)
        top, left = max(0, top - stride[0]), max(0, left - stride[1])
        bottom, right = min(height, bottom + stride[0]), min(width, right + stride[1])
    return None


def moved(objective: Objective, window: Window, stride: tuple[int, int]) -> Objective:
    """Return the objective with its location counted in the grid of a window of the image."""

    def shift(term: Term) -> Term:
        address = term.address
        assert isinstance(address, Address)
        assert address.location is not None
        y, x = address.location
        return replace(
            term, address=replace(address, location=(y - window.top // stride[0], x - window.left // stride[1]))
        )

    return Objective(tuple(map(shift, objective.terms)))
