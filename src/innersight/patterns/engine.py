"""The optimizer that finds patterns: many units share a batch, and the forward pass ends at their layer."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address, ClassAddress, parse
from innersight.errors import InnersightError
from innersight.files import read_pictures
from innersight.image import Picture, stack
from innersight.layers import check_layers
from innersight.model import Model
from innersight.patterns.parameterize import parameterization
from innersight.patterns.transforms import Views, view
from innersight.render import figures
from innersight.render.colour import as_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 16
WAKING = 16  # steps in which silent units are woken, see tap.redirected
Target = Address | ClassAddress


@dataclass(frozen=True)
class Score:
    """How far a pattern got.

    activation : the response to the finished, unmoved pattern: the peak over the unit's map, or the class logit.
    start : the same for the random picture it began with. natural : the highest over the pictures given, or None.
    """

    activation: float
    start: float
    natural: float | None

    @property
    def ratio(self) -> float | None:
        """Activation as a multiple of the natural maximum; None where that is unknown or not positive."""
        return self.activation / self.natural if self.natural is not None and self.natural > 0 else None

    @property
    def flags(self) -> tuple[str, ...]:
        """Say "stuck" when the response did not rise, "below natural" when pictures excite the unit more."""
        stuck = ("stuck",) if self.activation <= self.start else ()
        below = ("below natural",) if self.ratio is not None and self.ratio < 1 else ()
        return stuck + below

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain data."""
        return {
            "activation": self.activation,
            "natural": self.natural,
            "ratio": self.ratio,
            "flags": list(self.flags),
        }


@dataclass(frozen=True, eq=False)
class Patterns:
    """Patterns with their scores.

    images : (n, C, H, W) float32 pixels in 0..1. settings : everything that reproduces them.
    skipped : one sentence for each file that could not be read.
    """

    model: Model
    targets: tuple[Target, ...]
    images: Tensor
    scores: tuple[Score, ...]
    settings: dict[str, Any]
    skipped: tuple[str, ...] = ()

    def figure(self, *, columns: int = 8) -> "Figure":
        """Draw the patterns with address, response and flags."""
        labels = []
        for target, score in zip(self.targets, self.scores, strict=True):
            times = f", {score.ratio:.1f}x natural" if score.ratio is not None else ""
            flags = f"\n{', '.join(score.flags)}" if score.flags else ""
            labels.append(f"{target}\n{score.activation:.3g}{times}{flags}")
        title = f"{self.model.name}: patterns, {self.settings['steps']} steps from random pixels"
        return figures.picture_grid(
            as_colour(self.images, self.model.input.shown), labels, title=title, columns=columns
        )

    def to_json(self) -> dict[str, Any]:
        """Return addresses, scores and settings."""
        rows = [
            {"address": str(target), **score.to_json(), "start": score.start}
            for target, score in zip(self.targets, self.scores, strict=True)
        ]
        return {"model": self.model.name, "settings": self.settings, "patterns": rows, "skipped": list(self.skipped)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the images."""
        return {"images": self.images}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def patterns(
    model: Model,
    what: "str | Target | Sequence[str | Target]",
    *,
    steps: int = 128,
    size: int | None = None,
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture | None" = None,
    parameterize: str = "fourier",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Patterns:
    """Return the picture that drives each of the units or classes most, from random pixels.

    Activation maximization (Erhan et al. 2009; Olah et al. 2017, https://distill.pub/2017/feature-visualization): Adam
    ascends the mean of a unit's map (the value at `@y,x`, or a class logit) under small random shifts, turns and zooms.

    what : addresses such as "stage2:0-15", "stage2" (all its units), "class:NAME". steps : updates of each picture.
    size : side in pixels, the model's own by default. pictures : for the natural maximum in the scores.
    parameterize : "fourier" or "pixels". progress : called with (units done, units in all).

    The random stream of a unit depends on `seed` and its address only. Raises InnersightError for unknown addresses,
    less than one step, or a size below 8.
    """
    if steps < 1:
        raise InnersightError(f"steps={steps}: a pattern needs at least one step")
    if size is not None and size < 8:
        raise InnersightError(f"size={size}: give at least 8 pixels")
    targets = resolve(model, what)
    loaded, skipped = read_pictures(pictures, model.input) if pictures is not None else ((), ())
    height, width = (size, size) if size else (model.input.height, model.input.width)
    shape = (model.input.channels, height, width)
    if shape != model.input.shape:
        _check_size(model, shape)
    settings = {
        "steps": steps,
        "size": [height, width],
        "parameterize": parameterize,
        "seed": seed,
        "optimizer": "Adam",
    }
    images: dict[int, Tensor] = {}
    reached: dict[int, tuple[float, float]] = {}
    with tap.untouched(model):
        for layer, slots in _batches(targets):
            chosen = [targets[i] for i in slots]
            pixels, ends = _ascend(model, layer, chosen, shape, steps, parameterize, seed)
            images.update(zip(slots, pixels, strict=True))
            reached.update(zip(slots, ends, strict=True))
            if progress:
                progress(len(images), len(targets))
        natural = _natural(model, targets, loaded) if loaded else [None] * len(targets)
    scores = tuple(Score(reached[i][1], reached[i][0], natural[i]) for i in range(len(targets)))
    return Patterns(model, targets, torch.stack([images[i] for i in range(len(targets))]), scores, settings, skipped)


def resolve(model: Model, what: "str | Target | Sequence[str | Target]") -> tuple[Target, ...]:
    """Return the targets named, each checked to exist; a layer alone stands for all its units."""
    given = [what] if isinstance(what, str | Address | ClassAddress) else list(what)
    parsed = [t for item in given for t in (parse(item) if isinstance(item, str) else (item,))]
    if not parsed:
        raise InnersightError("nothing to optimize: name units such as stage2:0-15, or class:NAME")
    names = sorted({t.layer for t in parsed if isinstance(t, Address)})
    known = {layer.name: layer for layer in check_layers(model, names)} if names else {}
    found: list[Target] = []
    for target in parsed:
        if isinstance(target, ClassAddress):
            found.append(ClassAddress(model.labels[model.class_index(target.name)]))
            continue
        layer = known[target.layer]
        if target.unit is None:
            found.extend(Address(layer.name, unit) for unit in range(layer.units))
            continue
        if target.unit >= layer.units:
            raise InnersightError(f"{target}: {layer.name} has units 0-{layer.units - 1}")
        if target.place and not (target.place[0] < layer.grid[0] and target.place[1] < layer.grid[1]):
            raise InnersightError(f"{target}: the grid of {layer.name} is {layer.grid[0]}x{layer.grid[1]} (y, x)")
        found.append(target)
    return tuple(found)


def _check_size(model: Model, shape: tuple[int, int, int]) -> None:
    """Run one picture of another size than the network's own."""
    try:
        with tap.untouched(model), torch.no_grad():
            model.net(torch.zeros(1, *shape, device=model.device, dtype=model.dtype))
    except tap.DEFEATED as error:
        own = f"{model.input.height}x{model.input.width}"
        raise InnersightError(
            f"size={shape[1]}: {model.name} takes only pictures of {own} or sizes that fit its parts ({error})"
        ) from error


def _batches(targets: Sequence[Target]) -> Iterator[tuple[str | None, list[int]]]:
    """Yield (layer, positions in targets): up to BATCH of one layer at a time; classes have no layer."""
    groups: dict[str | None, list[int]] = {}
    for i, target in enumerate(targets):
        groups.setdefault(target.layer if isinstance(target, Address) else None, []).append(i)
    for layer, members in groups.items():
        for start in range(0, len(members), BATCH):
            yield layer, members[start : start + BATCH]


def _ascend(
    model: Model,
    layer: str | None,
    targets: Sequence[Target],
    shape: tuple[int, int, int],
    steps: int,
    parameterize: str,
    seed: int,
) -> tuple[Tensor, list[tuple[float, float]]]:
    """Optimize one batch; return its pixels (n, C, H, W) in 0..1 and (start, end) responses."""
    form, views = parameterization(parameterize), Views()
    streams = [torch.Generator().manual_seed(zlib.crc32(f"{seed} {target}".encode())) for target in targets]
    free = torch.stack([form.start(stream, shape) for stream in streams]).to(model.device)
    draws = torch.stack([views.draw(stream, steps) for stream in streams], 1).to(model.device)
    free.requires_grad_(True)
    optimizer = torch.optim.Adam([free], lr=form.rate)

    def response(pixels: Tensor, *, peak: bool) -> Tensor:
        return _response(model, layer, targets, model.input.normalise(pixels).to(model.dtype), peak=peak)

    with torch.no_grad():
        start = response(form.decode(free, shape), peak=True)
    for span, context in ((range(steps)[:WAKING], tap.redirected()), (range(steps)[WAKING:], nullcontext())):
        with torch.enable_grad(), context:
            for step in span:
                optimizer.zero_grad(set_to_none=True)
                loss = -response(view(form.decode(free, shape), draws[step]), peak=False).sum()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    with torch.no_grad():
        pixels = form.decode(free, shape)
        end = response(pixels, peak=True)
    return pixels.float().cpu(), list(zip(start.tolist(), end.tolist(), strict=True))


def _response(model: Model, layer: str | None, targets: Sequence[Target], x: Tensor, *, peak: bool) -> Tensor:
    """Return what each slot's own target makes of its picture: (n,)."""
    slots = torch.arange(len(targets), device=x.device)
    if layer is None:
        classes = [model.class_index(t.name) for t in targets if isinstance(t, ClassAddress)]
        logits = model.logits(x)
        return logits[slots, torch.tensor(classes, device=x.device)]
    maps = tap.capture(model, x, [layer]).activations[layer]
    own = maps[slots, torch.tensor([t.unit for t in targets if isinstance(t, Address)], device=x.device)]
    statistic = own.amax((1, 2)) if peak else own.mean((1, 2))
    places = [t.place if isinstance(t, Address) else None for t in targets]
    return torch.stack([own[i, p[0], p[1]] if p else statistic[i] for i, p in enumerate(places)])


def _natural(model: Model, targets: Sequence[Target], pictures: tuple[Picture, ...]) -> list[float | None]:
    """Return the highest response of each target over the pictures."""
    x = stack(pictures, model.input).to(model.device, model.dtype)
    best: list[float | None] = [None] * len(targets)
    with torch.no_grad():
        names = sorted({t.layer for t in targets if isinstance(t, Address)})
        classes = any(isinstance(t, ClassAddress) for t in targets)
        for batch in torch.split(x, BATCH):
            captured = tap.capture(model, batch, names, stop=not classes)
            for i, target in enumerate(targets):
                if isinstance(target, ClassAddress):
                    value = captured.logits()[:, model.class_index(target.name)].max()
                else:
                    maps = captured.activations[target.layer][:, target.unit]
                    value = (maps[:, target.place[0], target.place[1]] if target.place else maps).max()
                best[i] = max(float(value), best[i] if best[i] is not None else float(value))  # type: ignore[type-var]
    return best
