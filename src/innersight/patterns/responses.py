"""How strongly images activate objectives: a batch at a time, and over the images that a user gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.address import Address
from innersight.brief import brief
from innersight.errors import InnersightError
from innersight.image import Image
from innersight.inputs import Given, ImageReader, chosen, count, network_input, repeatable
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.patterns.objectives import Objective, Read, Rows, Term, objectives
from innersight.receptive_field import receptive_fields

if TYPE_CHECKING:
    from innersight.scan import Scan

BATCH = 16
PERCENT = 0.001  # of the values lie above the 99.9th percentile

Grid = tuple[int, int]
References = dict[tuple[str | None, int], Tensor]


class ObjectiveBatch:
    """The values of one objective for each row of a batch, from one forward pass that ends at the deepest layer.

    wanted : one per row. together : a number per row, the same for rows that are drawn together. references : see
    `references_of`. peak : see `Rows`. compiled : runs the passes in which no unit is woken.
    """

    def __init__(
        self,
        model: Model,
        wanted: Sequence[Objective],
        *,
        together: Sequence[int] | None = None,
        references: References | None = None,
        peak: bool = False,
        compiled: "tap.Compiled | None" = None,
    ) -> None:
        groups: dict[tuple[str | None, str], list[tuple[int, Term]]] = {}
        for row, objective in enumerate(wanted):
            for term in objective.terms:
                groups.setdefault((term.layer, term.kind), []).append((row, term))
        self._model, self.count, self._compiled = model, len(wanted), compiled
        self._parts: list[tuple[str | None, Tensor, Tensor, Read]] = []
        for (layer, kind), members in groups.items():
            at = torch.tensor([row for row, _ in members], device=model.device)
            bound = torch.tensor([together[row] if together else row for row, _ in members], device=model.device)
            terms = tuple(term for _, term in members)
            given = tuple((references or {}).get((layer, id(term.given))) for term in terms)
            weights = torch.tensor([term.weight for term in terms], device=model.device)
            read = objectives[kind](Rows(model, at, bound, terms, given, peak))
            self._parts.append((layer, at, weights, read))
        self.layers = sorted({layer for layer, _ in groups if layer is not None})
        self._scores = any(layer is None for layer, _ in groups)
        # To go below zero, or up from it, a unit is read before its ReLU.
        self._below = torch.tensor(
            [any(t.weight < 0 and t.layer for t in o.terms) for o in wanted], device=model.device
        )
        self._nobody = torch.zeros(0, dtype=torch.long, device=model.device)
        self._any_below = any(t.weight < 0 and t.layer is not None for o in wanted for t in o.terms)

    def __call__(self, pixels: Tensor, waking: Tensor | None = None) -> Tensor:
        """Return (B,) values for pixels (B, C, H, W) in 0..1.

        waking : numbers of the rows in which silent units are woken: their ReLUs let through what would raise them, and
        the unit is read before its own.
        """
        x = self._model.input.normalise(pixels).to(self._model.dtype)
        if waking is None and not self._any_below:
            return self._values(x, None, None)
        woken = self._nobody if waking is None else waking
        with tap.redirected(woken) as mode:
            values = self._values(x, mode, self._below.index_fill(0, woken, True))
            mode.forget()
        return values

    def beside(self, pixels: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the values for pixels, and the activations of further layers in the same pass."""
        x = self._model.input.normalise(pixels).to(self._model.dtype)
        captured = tap.capture(self._model, x, sorted({*self.layers, *layers}), stop=not self._scores)
        return self._read(captured, x, None, None), {layer: captured.activations[layer] for layer in layers}

    def _values(self, x: Tensor, mode: "tap.redirected | None", before: Tensor | None) -> Tensor:
        if self._compiled is not None and mode is None:
            captured = self._compiled(x, self.layers, stop=not self._scores)
        else:
            captured = tap.capture(self._model, x, self.layers, stop=not self._scores)
        return self._read(captured, x, mode, before)

    def _read(
        self, captured: "tap.Captured", x: Tensor, mode: "tap.redirected | None", before: Tensor | None
    ) -> Tensor:
        total = torch.zeros(self.count, device=x.device)
        for layer, at, weights, read in self._parts:
            seen = captured.logits() if layer is None else captured.activations[layer]
            values = read(seen)
            if mode is not None and before is not None and layer is not None:
                given = mode.unrectified(seen)
                if given is not seen:
                    values = torch.where(before[at], read(given), values)
            total = total.index_add(0, at, weights * values)
        return total


def references_of(model: Model, wanted: Sequence[Objective], size: tuple[int, int]) -> References:
    """Return what each layer makes of the images that objectives look at, at the size (H, W) of the patterns."""
    spec = replace(model.input, height=size[0], width=size[1])
    found: References = {}
    with torch.no_grad():
        for term in (term for objective in wanted for term in objective.terms if isinstance(term.given, Image)):
            key = term.layer, id(term.given)
            if key not in found and isinstance(term.given, Image) and term.layer is not None:
                x = term.given.tensor(spec)[None].to(model.device, model.dtype)
                found[key] = tap.capture(model, x, [term.layer]).activations[term.layer][0]
    return found


def threads() -> int:
    """Return how many rows the parts of a batch are multiples of: one image for every thread, two at least."""
    count = torch.get_num_threads()
    return count if count % 2 == 0 else 2 * count


def whole(rows: int) -> int:
    """Return `rows` rounded up to whole turns of the threads."""
    return max(1, -(-rows // threads())) * threads()


@dataclass(frozen=True)
class Natural:
    """What images make of an objective: the highest response and its 99.9th percentile over images and locations."""

    highest: float
    p999: float


@dataclass(frozen=True)
class PatternExample:
    """An image that activates an objective, by name; value : its highest response, raw."""

    image: str
    value: float


@dataclass(frozen=True, eq=False)
class Naturals:
    """What the images make of every objective.

    highest : of each objective, None where no response was a number. examples : of each, highest first. pixels :
    (n, k, C, H, W) in 0..1, the parts of the images that do so. skipped : a sentence for each file not read. notes :
    how the images were understood. ranked : of each objective (response, number of the image), highest first.
    """

    highest: tuple[Natural | None, ...]
    examples: tuple[tuple[PatternExample, ...], ...]
    pixels: Tensor
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    ranked: tuple[tuple[tuple[float, int], ...], ...] = ()

    __repr__ = brief


@dataclass(eq=False)
class _Tally:
    """What is kept of one objective: its highest values, and (value, number of the source, middle) of its images.

    middle : of the location, as shares of the image's height and width.
    """

    values: Tensor
    seen: int
    best: list[tuple[float, int, tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class _Response:
    """Responses to a batch, (B, h, w), which lie in a grid from `first` on."""

    values: Tensor
    grid: Grid = (1, 1)
    first: Grid = (0, 0)


def nothing(count: int) -> Naturals:
    """Return the naturals of so many objectives without any images."""
    return Naturals((None,) * count, ((),) * count, torch.empty(0), ())


def scanned(model: Model, wanted: Sequence[Objective], naturals: Naturals, scan: "Scan") -> Naturals:
    """Return the naturals with those of a whole data set in place, for the units of the layers that were scanned.

    Raises InnersightError for a scan of another network.
    """
    if scan.model.digest() != model.digest():
        raise InnersightError(f"the scan is of {scan.model.name} with other weights or input than {model.name}")
    highest = list(naturals.highest)
    for i, term in enumerate(one.single for one in wanted):
        if term is None or term.weight != 1 or term.layer not in scan.layers:
            continue
        if isinstance(term.address, Address) and term.address.location is None:
            top, p999 = scan.natural(term.address)
            highest[i] = Natural(top, p999) if math.isfinite(top) else None
    return replace(naturals, highest=tuple(highest))


def naturals_of(
    model: Model,
    wanted: Sequence[Objective],
    images: Any,
    size: Grid,
    kept: tuple[int, int],
    shown: int,
    grids: Mapping[str, Grid],
    numbers: Sequence[int] | None = None,
) -> Naturals:
    """Return what images make of objectives, in one pass over them; a batch at a time is held.

    images : whatever holds images; gone through once, and those that are shown are read again. numbers : of those
    that count; all when None. size : (H, W) of the parts. kept : how many examples, for the first `shown` of the
    objectives, and how many images are ranked. grids : of the layers at the size that locations were asked for; a
    location stands for what lies there in the grid of the network's own size. Raises ImageError where no image can be
    read.
    """
    data = repeatable(images)
    total = count(data) if numbers is None else len(numbers)
    references = references_of(model, wanted, (model.input.height, model.input.width))
    tallies = [_Tally(torch.empty(0), 0, []) for _ in wanted]
    done = 0
    responses = _Responses(model, wanted, references, grids)
    reading = ImageReader(data, model.input, numbers=numbers)
    for loaded in reading.batches(BATCH):
        done += len(loaded)
        x = network_input(loaded, model)
        for tally, values in zip(tallies, responses(x), strict=True):
            _add(tally, values, [one.entry.number for one in loaded], max(kept), total / done)
    ranked = tuple(tuple((value, number) for value, number, _ in tally.best) for tally in tallies)
    for tally in tallies:
        tally.best = tally.best[: kept[0]]
    pixels, best = _parts(model, wanted[:shown], tallies[:shown], data, size, kept[0])
    return Naturals(tuple(map(_natural, tallies)), best, pixels, reading.skipped, reading.notes, ranked)


class _Responses:
    """The responses of objectives to network inputs; of one location only for those without a unit."""

    def __init__(self, model: Model, wanted: Sequence[Objective], references: Any, grids: Mapping[str, Grid]) -> None:
        self._model, self._wanted, self._references, self._grids = model, wanted, references, grids
        single = [one.single for one in wanted]
        self._layers = sorted({term.layer for term in single if term is not None and term.layer is not None})
        self._scores = any(term is not None and term.layer is None for term in single)
        self._nobody = torch.zeros(0, dtype=torch.long, device=model.device)

    def __call__(self, x: Float[Tensor, "B C H W"]) -> list[_Response]:
        maps: Mapping[str, Tensor] = {}
        below: Mapping[str, Tensor] = {}
        logits = None
        with torch.no_grad():
            if self._layers or self._scores:
                # What goes into a ReLU is known inside: a unit is inhibited beyond what the ReLU shows.
                with tap.redirected(self._nobody) as mode:
                    captured = tap.capture(self._model, x, self._layers, stop=not self._scores)
                    maps = captured.activations
                    below = {layer: mode.unrectified(own) for layer, own in maps.items()}
                    mode.forget()
                logits = captured.logits().float() if self._scores else None
            return [self._one(objective, x, maps, below, logits) for objective in self._wanted]

    def _one(
        self, objective: Objective, x: Tensor, maps: Mapping[str, Tensor], below: Mapping[str, Tensor],
        logits: Tensor | None,
    ) -> _Response:  # fmt: skip
        term = objective.single
        if term is None:
            pixels = self._model.input.denormalise(x.float())
            values = ObjectiveBatch(self._model, [objective] * len(x), references=self._references, peak=True)(pixels)
            return _Response(values.float().view(-1, 1, 1).cpu())
        if not isinstance(term.address, Address):
            assert logits is not None
            return _Response(term.weight * logits[:, self._model.class_index(term.address.name)].view(-1, 1, 1).cpu())
        layer, unit, location = term.address.layer, term.address.unit, term.address.location
        own = term.weight * (maps if term.weight > 0 else below)[layer][:, unit].float().cpu()
        grid = own.shape[1], own.shape[2]
        if location is None:
            return _Response(own, grid)
        y, x_ = (at * side // whole for at, side, whole in zip(location, grid, self._grids[layer], strict=True))
        return _Response(own[:, y : y + 1, x_ : x_ + 1], grid, (y, x_))


def _add(tally: _Tally, found: _Response, numbers: Sequence[int], count: int, times: float) -> None:
    """Take in the responses to a batch. times : how many times as many there will be at the end."""
    tally.seen += found.values.numel()
    # No more is needed for the percentile of what has been seen so far and will be.
    most = math.ceil(tally.seen * times * PERCENT) + 1
    sure = found.values.nan_to_num(-math.inf, math.inf, -math.inf)
    tally.values = torch.cat([tally.values, sure.flatten()]).sort(descending=True).values[:most]
    highest, flat = sure.flatten(1).max(1)
    width, (y, x), (h, w) = sure.shape[2], found.first, found.grid
    for value, number, at in zip(highest.tolist(), numbers, flat.tolist(), strict=True):
        if value > -math.inf:
            middle = (y + at // width + 0.5) / h, (x + at % width + 0.5) / w
            tally.best.append((value, number, middle))
    tally.best = sorted(tally.best, key=lambda row: (-row[0], row[1]))[:count]


def _natural(tally: _Tally) -> Natural | None:
    p999 = tally.values[min(len(tally.values) - 1, int(tally.seen * PERCENT))]
    return Natural(float(tally.values[0]), float(p999)) if bool(torch.isfinite(tally.values[0])) else None


def _parts(
    model: Model, wanted: Sequence[Objective], tallies: Sequence[_Tally], images: Given, size: Grid, count: int
) -> tuple[Tensor, tuple[tuple[PatternExample, ...], ...]]:
    """Return the parts of images that units prefer, (n, k, C, H, W), white where there are fewer than k, and names.

    A part is the effective receptive field around the highest location, at most one of each image; the whole image as
    the network sees it where an objective has no location.
    """
    needed = sorted({number for tally in tallies for _, number, _ in tally.best})
    most = min(count, max((len(tally.best) for tally in tallies), default=0))
    pixels = torch.ones(len(wanted), most, model.input.channels, *size)
    names: dict[int, str] = {}
    layers = sorted({one.single.layer for one in wanted if one.single is not None and one.single.layer is not None})
    seen = receptive_fields(model, layers)
    # Image by image, so that one at a time is held.
    for entry in chosen(images, needed):
        image, number = entry.load(model.input), entry.number
        names[number] = image.name
        whole = model.input.denormalise(image.tensor(model.input)[None])[0].clamp(0, 1)
        for i, tally in enumerate(tallies):
            for k, (_, own, middle) in enumerate(tally.best):
                if own == number:
                    pixels[i, k] = _fitted(_cut(whole, wanted[i], middle, seen), size)
    examples = tuple(
        tuple(PatternExample(names[number], value) for value, number, _ in tally.best) for tally in tallies
    )
    return pixels, examples


def _cut(
    whole: Tensor, objective: Objective, middle: tuple[float, float], seen: Mapping[str, ReceptiveField]
) -> Float[Tensor, "C h w"]:
    term = objective.single
    if term is None or not isinstance(term.address, Address):
        return whole
    edges: list[int] = []
    for at, side, effective in zip(middle, whole.shape[1:], seen[term.address.layer].effective, strict=True):
        wide = min(side, max(8, effective))
        first = round(min(max(0.0, at * side - wide / 2), side - wide))
        edges += [first, first + wide]
    return whole[:, edges[0] : edges[1], edges[2] : edges[3]]


def _fitted(part: Tensor, size: Grid) -> Tensor:
    """Return a part of an image within a frame, its sides in proportion, white beside it."""
    height, width = part.shape[1:]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    small = F.interpolate(part[None], inner, mode="bilinear", antialias=True)[0].clamp(0, 1)
    framed = torch.ones(part.shape[0], *size)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    framed[:, top : top + inner[0], left : left + inner[1]] = small
    return framed
