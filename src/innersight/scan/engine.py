"""`scan`: one pass over a data set that keeps, for every unit, the pictures that excite it most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from innersight import tap
from innersight.address import Address, parse
from innersight.errors import InnersightError, nearest
from innersight.files import batches, find_pictures
from innersight.image import PictureError, load_picture, stack
from innersight.layers import check_layers, story
from innersight.maps import compute, seen_array
from innersight.model import Model
from innersight.render import figures
from innersight.render.colour import scale_of
from innersight.scan.tally import Tally, empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A picture that excites a unit.

    value : the peak of the unit's map, raw. place : (y, x) of the peak in the layer's grid.
    """

    path: Path
    value: float
    place: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Scan:
    """For every unit of the layers scanned the pictures that excite it most, and how often it is on.

    layers : one `Tally` per layer; its picture numbers count in `paths`, which names only the pictures that are kept.
    pictures : how many were read. skipped : one sentence for each file that could not be read.
    """

    model: Model
    layers: dict[str, Tally]
    paths: tuple[Path, ...]
    pictures: int
    skipped: tuple[str, ...]

    def examples(self, address: str | Address) -> tuple[Example, ...]:
        """Return the pictures that excite the unit `layer:unit` most, highest peak first.

        Pictures on which it is positive nowhere do not excite it, so there may be fewer than were kept, or none. Raises
        InnersightError for a layer that was not scanned or a unit it does not have.
        """
        if isinstance(address, str):
            parsed = parse(address)
            one = parsed[0]
            if len(parsed) != 1 or not isinstance(one, Address):
                raise InnersightError(f"{address!r} must name one unit: write layer:unit")
            address = one
        if address.unit is None:
            raise InnersightError(f"{str(address)!r} must name one unit: write {address.layer}:0")
        tally = self._tally(address.layer, [address.unit])
        return tuple(
            Example(self.paths[number], value, (y, x))
            for number, value, (y, x) in zip(
                tally.picture[address.unit].tolist(),
                tally.value[address.unit].tolist(),
                tally.place[address.unit].tolist(),
                strict=True,
            )
            if number >= 0 and value > 0
        )

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return per layer how many units are dead (positive nowhere) and always on (positive on every picture)."""
        return {
            name: {
                "units": len(tally.value),
                "grid": list(tally.grid),
                "dead": int(tally.dead.sum()),
                "always_on": int(tally.always_on.sum()),
            }
            for name, tally in self.layers.items()
        }

    def figure(self, layer: str | None = None, units: Sequence[int] | None = None) -> "Figure":
        """Draw one row per unit: its pictures, highest peak first, with the unit's map laid over, the peak ringed.

        By default the deepest layer and its first eight units that are not dead. The whole picture as the network sees
        it is drawn, not the crop that the unit can see; the maps are computed again from the files, and a row shares
        one scale. Raises PictureError when a file is gone.
        """
        layer = layer or list(self.layers)[-1]
        tally = self._tally(layer, units or ())
        alive = torch.where(~tally.dead)[0].tolist() or list(range(len(tally.value)))
        rows = list(units) if units is not None else alive[:SHOWN]
        found = [self.examples(Address(layer, unit)) for unit in rows]
        columns = max([1, *map(len, found)])
        figure = figures.new_figure(1.15 * columns + 1.0, 1.32 * len(rows) + 0.45)
        figure.suptitle(
            f"{layer} ({tally.grid[0]}x{tally.grid[1]}): {self._counted(layer)}", x=0.01, ha="left", fontsize=8
        )
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for line, unit, examples in zip(axes, rows, found, strict=True):
            self._draw_row(line, Address(layer, unit), examples)
        return figure

    def to_json(self) -> dict[str, Any]:
        """Return per unit its mean, the share of pictures it is positive on, and its examples."""
        return {
            "model": self.model.name,
            "pictures": self.pictures,
            "skipped": list(self.skipped),
            "summary": self.summary(),
            "layers": {
                name: [self._row(Address(name, unit), tally) for unit in range(len(tally.value))]
                for name, tally in self.layers.items()
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return `LAYER/value`, `LAYER/place`, `LAYER/picture`, `LAYER/mean` and `LAYER/positive`; see `Tally`."""
        kept = ("value", "place", "picture", "mean", "positive")
        return {f"{name}/{key}": getattr(tally, key) for name, tally in self.layers.items() for key in kept}

    def save(self, path: str | Path) -> Path:
        """Write `.png` (the deepest layer), `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())

    def _tally(self, layer: str, units: Sequence[int]) -> Tally:
        if layer not in self.layers:
            raise InnersightError(f"layer {layer!r} was not scanned; {nearest(layer, self.layers)}")
        tally = self.layers[layer]
        for unit in units:
            if not 0 <= unit < len(tally.value):
                raise InnersightError(f"{layer} has units 0-{len(tally.value) - 1}, not {unit}")
        return tally

    def _row(self, address: Address, tally: Tally) -> dict[str, Any]:
        return {
            "address": str(address),
            "mean": float(tally.mean[address.unit]),
            "positive": int(tally.positive[address.unit]) / tally.pictures,
            "examples": [
                {"picture": str(example.path), "value": example.value, "place": list(example.place)}
                for example in self.examples(address)
            ],
        }

    def _counted(self, layer: str) -> str:
        row = self.summary()[layer]
        left = f", {len(self.skipped)} file{'s' * (len(self.skipped) != 1)} skipped" if self.skipped else ""
        return (
            f"{row['units']} units over {self.pictures} pictures{left}; "
            f"{row['dead']} never positive, {row['always_on']} positive on every picture"
        )

    def _draw_row(self, axes: Any, address: Address, examples: Sequence[Example]) -> None:
        tally = self.layers[address.layer]
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        share = int(tally.positive[address.unit]) / tally.pictures
        axes[0].set_ylabel(f"unit {address.unit}, on in {share:.0%}", fontsize=6.5)
        if not examples:
            return
        loaded = [load_picture(example.path) for example in examples]
        values = compute(self.model, stack(loaded, self.model.input), [address.layer])[address.layer][:, address.unit]
        scale = scale_of(values)
        axes[0].set_ylabel(f"unit {address.unit}, on in {share:.0%}\n{scale}", fontsize=6.5)
        for axis, picture, map_, example in zip(axes, loaded, values, examples, strict=False):
            seen = seen_array(picture, self.model)
            figures.draw_map(axis, map_, scale, seen)
            axis.set_title(f"{example.value:.3g}  {_short(picture.name)}", fontsize=6, pad=2)
            if tally.grid != (1, 1):
                (y, x), (h, w) = example.place, tally.grid
                spot = ((x + 0.5) * seen.shape[1] / w, (y + 0.5) * seen.shape[0] / h)
                axis.plot(*spot, "o", ms=6, mfc="none", mec="#00e5ff", mew=1)


def scan(
    model: Model,
    pictures: "Iterable[str | Path] | str | Path",
    layers: Sequence[str] | None = None,
    *,
    top: int = 9,
    batch: int = 32,
) -> Scan:
    """Return, for every unit of `layers`, the `top` pictures with the highest peak, in one pass over files and folders.

    Without `layers` those that tell the story. One forward pass for each `batch` of pictures, ended at the deepest
    layer; memory does not grow with the number of pictures. A file that cannot be read is skipped and listed. Raises
    InnersightError for unknown layers, and PictureError when no picture at all could be read.
    """
    if top < 1 or batch < 1:
        raise InnersightError(f"top is {top} and batch is {batch}; both are at least 1")
    described = check_layers(model, tuple(layers) if layers else story(model))
    tallies = {layer.name: empty(layer.units, layer.grid, top, model.device) for layer in described}
    paths: dict[int, Path] = {}
    skipped: list[str] = []
    count, room = 0, 0
    sources = find_pictures([pictures] if isinstance(pictures, str | Path) else pictures)

    def read(path: Path) -> tuple[Path, Tensor]:
        return path, load_picture(path).tensor(model.input)

    with tap.untouched(model), torch.no_grad():
        for loaded in batches(sources, read, batch, skipped):
            x = torch.stack([tensor for _, tensor in loaded]).to(model.device, model.dtype)
            paths.update((count + i, path) for i, (path, _) in enumerate(loaded))
            numbers = torch.arange(count, count + len(loaded), device=model.device)
            count += len(loaded)
            captured = tap.capture(model, x, list(tallies))
            for name in tallies:
                tallies[name] = tallies[name].add(captured.activations[name], numbers)
            if len(paths) > room:
                paths = _kept(paths, tallies)
                room = 2 * len(paths) + batch
    if not count:
        raise PictureError(skipped[0] if skipped else "no pictures given")
    kept = _kept(paths, tallies)
    return Scan(model, _renumbered(tallies, kept), tuple(kept.values()), count, tuple(skipped))


def _kept(paths: dict[int, Path], tallies: dict[str, Tally]) -> dict[int, Path]:
    """Forget the paths of pictures that no unit keeps any more."""
    numbers = {number for tally in tallies.values() for number in tally.picture.flatten().tolist()}
    return {number: path for number, path in paths.items() if number in numbers}


def _renumbered(tallies: dict[str, Tally], kept: dict[int, Path]) -> dict[str, Tally]:
    """Make the tallies count in the kept pictures instead of in all."""
    numbers = torch.tensor(list(kept), dtype=torch.long)
    on_cpu = {name: tally.cpu() for name, tally in tallies.items()}
    return {
        name: replace(tally, picture=torch.where(tally.picture < 0, -1, torch.searchsorted(numbers, tally.picture)))
        for name, tally in on_cpu.items()
    }


def _short(name: str, length: int = 14) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
