"""Measure the layout of every layer: change one corner of an image and see which locations respond."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from innersight import ambient, measured
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.nested import leaves
from innersight.network import DEFEATED
from innersight.quotients import precise
from innersight.tap.layout import Layout
from innersight.tap.linear import opened, wired
from innersight.untouched import untouched

# (y, x) of the corners, as signs. The first of the images is unchanged.
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
IMAGES = 1 + len(CORNERS)
SIDE = 3 / 8  # of a corner, as a part of the image's
LOCAL = 0.08  # FULL would be all of the change at the corners; without any order it is about 0
FULL = 1 - SIDE
DISTINCT = 0.5  # 1 would be changes at locations that have nothing in common; 0 the same locations for every corner
# Of the locality that changes as distinct as these would have in the right order. Over 6,000 measured layers of 52
# families it was 0.97 (median; 0.87 at the lowest twentieth), in the right order never below 0.42; tokens sorted into
# small windows reach 0.37, others 0.14 (median): see docs/decisions/0004-layouts-are-measured.md.
ORDERED = 0.4
# Places from which on an order that is not the image's is believed: of fewer, where fields are wider than the
# image, any location may respond. Maps in the image's proportions are hardly ever anything else.
ENOUGH = {"tokens": 49, "maps": 256, "odd maps": 16}
SAME_PROPORTIONS = 1.3
MOST_PREFIX = 16


@dataclass(frozen=True)
class Unreadable:
    """A layer without units and locations.

    Attributes
    ----------
    why : str
        The reason, as the end of a sentence that begins with the layer's name.

    """

    why: str


@dataclass(frozen=True)
class Candidate:
    """One possible layout and its score. score : locality, up to FULL. distinct : 0 to 1."""

    layout: Layout
    score: float
    distinct: float

    @property
    def order(self) -> float:
        """The locality as a part of what such distinct changes would have in the right order.

        A share of each change is taken to stay in its corner and the rest to spread evenly: the share follows from how
        distinct the changes are.
        """
        corner = SIDE**2
        share = (self.distinct * corner / (1 - self.distinct + self.distinct * corner)) ** 0.5
        return self.score / (FULL * share) if share > 0 else 0.0


def layouts(model: Model) -> Mapping[str, Layout | Unreadable]:
    """Return the layout of every layer that is called, in the order of the forward pass; measured once, see `measured`.

    Parameters
    ----------
    model
        The network.

    Returns
    -------
    Mapping of str to Layout or Unreadable
        By layer. A module that is called several times has an entry `NAME#2`, `NAME#3` ... for each further call.

    Raises
    ------
    InnersightError
        When the network refuses a batch of five.

    Notes
    -----
    One pass with five images that differ in one corner each, and one more with ReLUs and their like taken out where a
    layer is silent. Of the possible layouts of an output that one is taken whose locations change where the image
    changed; where all locations change alike (attention before training), that of the layers of the same shape.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight import tap
    >>> found = tap.layouts(ins.load("small:4"))
    >>> found["stage4"].grid, found["head"].axes
    ((10, 10), 'bu')

    """
    return measured.once(model, "layouts", lambda: _measure(model) if model.plain is None else _extended(model))


def _extended(model: Model) -> dict[str, Layout | Unreadable]:
    """Return the layouts of the plain network with each inserted layer behind the one that it reads."""
    assert model.plain is not None
    found: dict[str, Layout | Unreadable] = {}
    for name, read in layouts(model.plain).items():
        found[name] = read
        for one in model.inserted:
            if one.layer == name:
                found[one.name] = (
                    replace(read, axes="buhw", units=len(one.directions), prefix=0, part="")
                    if isinstance(read, Layout)
                    else read
                )
    return found


def _measure(model: Model) -> dict[str, Layout | Unreadable]:
    with ambient.plain(), untouched(model), torch.no_grad():
        x = _images(model)
        found = _read_layouts(model, x)
        if any(_silent(readings) for readings in found.values()):
            # Which locations respond is then seen with units that cannot be silent.
            with wired(model), opened(), suppress(InnersightError):
                again = _read_layouts(model, x)
                found |= {name: again[name] for name, readings in found.items() if _silent(readings) and name in again}
    return _settle(found, (x.shape[2], x.shape[3]))


def _read_layouts(model: Model, x: Tensor) -> dict[str, list[Candidate] | Unreadable]:
    """Return the possible layouts of what every layer gives for `x`, in the order of the forward pass."""
    found: dict[str, list[Candidate] | Unreadable] = {}
    calls: Counter[nn.Module] = Counter()

    def measure_layout(module: nn.Module, output: Any, name: str) -> None:
        calls[module] += 1
        call = calls[module]
        with ambient.plain():
            found[name if call == 1 else f"{name}#{call}"] = _readings(output, x)

    with ExitStack() as stack:
        for name, module in model.net.named_modules():
            if name:
                hook = lambda module, _inputs, output, name=name: measure_layout(module, output, name)  # noqa: E731
                stack.callback(module.register_forward_hook(hook).remove)
        try:
            model.output(x)
        except DEFEATED as error:
            raise InnersightError(
                f"{model.name} cannot be inspected: it refuses {IMAGES} images of {tuple(x.shape[1:])} ({error})"
            ) from error
    return found


def _silent(readings: list[Candidate] | Unreadable) -> bool:
    """Whether a layer has locations, and none of them responds to some corner."""
    return (
        not isinstance(readings, Unreadable)
        and all(one.distinct == 0 and one.score == 0 for one in readings)
        and any(one.layout.grid != (1, 1) for one in readings)
    )


def _images(model: Model) -> Tensor:
    """Return smooth random images as network input: one, and the same with another content in each corner."""
    generator = torch.Generator().manual_seed(0)
    spec = model.input
    first, other = torch.rand(2, *spec.shape, generator=generator)
    images = [first]
    h, w = spec.height, spec.width
    for y, x in CORNERS:
        rows = slice(0, round(h * SIDE)) if y < 0 else slice(h - round(h * SIDE), h)
        columns = slice(0, round(w * SIDE)) if x < 0 else slice(w - round(w * SIDE), w)
        changed = first.clone()
        # Noise alone averages away in deep layers: the corner also becomes darker on the whole.
        changed[:, rows, columns] = other[:, rows, columns] * 0.5
        images.append(changed)
    return spec.normalise(torch.stack(images)).to(model.device, model.dtype)


def _readings(output: Any, x: Tensor) -> list[Candidate] | Unreadable:
    """Return the possible layouts of one output, each with its score."""
    found = [(where, leaf) for where, leaf in leaves(output) if leaf.is_floating_point()]
    if not found:
        return Unreadable(f"returns {type(output).__name__}, which holds no floating-point tensor")
    why = Unreadable("returns nothing that can be read")
    for where, tensor in found:
        if IMAGES not in tensor.shape[:2] or tensor.ndim < 2:
            shape = tuple(tensor.shape)
            why = Unreadable(f"gives {shape} for {IMAGES} images: windows, heads or tokens instead of images")
            continue
        possible = list(_possible(tuple(tensor.shape), (x.shape[2], x.shape[3]), where))
        if possible:
            return [_judge(layout, output) for layout in possible]
        why = Unreadable(f"gives {tuple(tensor.shape)}, which is not a grid of the image")
    return why


def _possible(shape: tuple[int, ...], size: tuple[int, int], part: str) -> Iterator[Layout]:
    """Yield the layouts that an output of this shape could have, the commonest first."""
    if len(shape) == 2 and shape[0] == IMAGES:
        yield Layout("bu", shape[1], (1, 1), part=part)
    elif len(shape) == 4 and shape[0] == IMAGES:
        if shape[2:] == (1, 1) or shape[1:3] != (1, 1):
            yield Layout("buhw", shape[1], (shape[2], shape[3]), part=part)
        if shape[2:] != (1, 1):
            yield Layout("bhwu", shape[3], (shape[1], shape[2]), part=part)
    elif len(shape) == 3:
        for axes in ("bpu", "bup") if shape[0] == IMAGES else ("pbu",):
            for prefix, grid in _grids(shape[axes.index("p")], size):
                yield Layout(axes, shape[axes.index("u")], grid, prefix, part)


def _grids(tokens: int, size: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (prefix, grid) for a number of tokens: grids in the image's proportions, the fewest left over first."""
    height, width = size
    found = set()
    for stride in range(1, max(size) + 1):
        for h, w in ((height // stride, width // stride), (-(-height // stride), -(-width // stride))):
            prefix = tokens - h * w
            if h and w and 0 <= prefix <= MOST_PREFIX and (prefix == 0 or h * w > 1):
                found.add((prefix, (h, w)))
    yield from sorted(found)[:4]


def _judge(layout: Layout, output: Any) -> Candidate:
    if layout.grid == (1, 1):
        return Candidate(layout, 0.0, 0.0)
    maps = layout.read(output)
    # In float64: squares of small activations would vanish. In place: these are the largest tensors of a measurement.
    energy = (precise(maps[1:]) - maps[:1]).square_().sum(1)
    if not bool((energy.sum((1, 2)) > 0).all()):
        return Candidate(layout, 0.0, 0.0)
    share = (energy / energy.sum((1, 2), keepdim=True)).float()
    h, w = share.shape[1:]
    y = (torch.arange(h, device=share.device) + 0.5) / h - 0.5
    x = (torch.arange(w, device=share.device) + 0.5) / w - 0.5
    signs = torch.tensor(CORNERS, device=share.device)
    sides = [(along * signs[:, i]).mean() for i, along in enumerate((share.sum(2) @ y, share.sum(1) @ x))]
    # The weaker side counts: of rows of tokens taken for a map, one side may follow the image by chance.
    score = 2 * torch.stack([side for side, locations in zip(sides, (h, w), strict=True) if locations > 1]).amin()
    flat = nn.functional.normalize(share.flatten(1), dim=1)
    uniform = flat @ flat.T
    others = len(CORNERS) * (len(CORNERS) - 1)
    distinct = 1 - (uniform.sum() - uniform.diag().sum()) / others
    return Candidate(layout, float(score.nan_to_num(0.0)), float(distinct.nan_to_num(0.0)))


def _settle(found: Mapping[str, list[Candidate] | Unreadable], size: tuple[int, int]) -> dict[str, Layout | Unreadable]:
    """Choose one layout for each layer: the measured ones first, then those that take after them."""
    settled: dict[str, Layout | Unreadable] = {}
    measured: dict[tuple[str, int, int], Layout] = {}
    mixed: set[tuple[str, int, int]] = set()
    for name, readings in found.items():
        if isinstance(readings, Unreadable):
            settled[name] = readings
            continue
        best = max(readings, key=lambda reading: reading.score)
        if best.score >= LOCAL and best.order >= ORDERED:
            settled[name] = best.layout
            measured[_key(best.layout)] = best.layout
            continue
        likeliest = min(readings, key=lambda reading: _proportions(reading.layout.grid, size))
        enough = _locations(likeliest.layout) >= ENOUGH[_kind(likeliest.layout, size)]
        if enough and likeliest.distinct > DISTINCT and likeliest.order < ORDERED:
            settled[name] = Unreadable("returns values that are not in the order of the image")
            mixed.update(_key(reading.layout) for reading in readings)
    for name, readings in found.items():
        if name not in settled and not isinstance(readings, Unreadable):
            settled[name] = _infer([reading.layout for reading in readings], measured, mixed, size)
    return {name: settled[name] for name in found}


def _infer(
    possible: list[Layout],
    measured: Mapping[tuple[str, int, int], Layout],
    mixed: Set[tuple[str, int, int]],
    size: tuple[int, int],
) -> Layout | Unreadable:
    """Choose where the change of the image tells nothing: there are no locations, or all change alike."""
    trivial = [layout for layout in possible if layout.grid == (1, 1)]
    if trivial:
        return trivial[0]
    ordered = [layout for layout in possible if _key(layout) not in mixed]
    same = [layout for layout in ordered if _key(layout) in measured]
    # Without a layer to take after, a grid in the image's proportions is what it looks like.
    same = same or [o for o in ordered if o.prefix == 0 and _proportions(o.grid, size) < SAME_PROPORTIONS]
    if same:
        return replace(same[0], measured=False)
    h, w = possible[0].grid
    return Unreadable(f"gives {h}x{w} values whose order cannot be measured")


def _kind(layout: Layout, size: tuple[int, int]) -> str:
    if "p" in layout.axes:
        return "tokens"
    return "maps" if _proportions(layout.grid, size) < SAME_PROPORTIONS else "odd maps"


def _proportions(grid: tuple[int, int], size: tuple[int, int]) -> float:
    """Return how many times wider or higher a grid is than the image; 1 for the same proportions."""
    times = grid[0] * size[1] / (grid[1] * size[0])
    return max(times, 1 / times)


def _key(layout: Layout) -> tuple[str, int, int]:
    """Return what layers of one kind have in common: kind of axes, locations, tokens before them."""
    return "p" if "p" in layout.axes else layout.axes, _locations(layout), layout.prefix


def _locations(layout: Layout) -> int:
    return layout.grid[0] * layout.grid[1]
