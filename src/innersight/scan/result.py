"""What a scan found: examples of every unit, and numbers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from innersight.address import Address, parse
from innersight.brief import brief
from innersight.errors import InnersightError, nearest
from innersight.inputs import ImageEntry, again
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.render import figures
from innersight.scan.crops import Crop, crops, reopen
from innersight.scan.ledger import Record
from innersight.scan.likeness import copies
from innersight.scan.tally import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)
TWINS = 0.9  # correlation from which on two units are called twins
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Example:
    """An image and what a unit makes of it.

    path : of the file; TAR/MEMBER in a tar file, #NUMBER in a data set. value : the peak of the unit's map (its lowest
    place among the lowest), raw. place : (y, x) of it in the layer's grid. number : of the image in the scan.
    copies : other images of the scan that are nearly the same, by perceptual hash.
    """

    path: Path
    value: float
    place: tuple[int, int]
    number: int
    copies: int = 0


@dataclass(frozen=True)
class Likeness:
    """A unit that answers to the same images. correlation : Pearson's, of the peaks over all images, -1 to 1."""

    address: str
    correlation: float


@dataclass(frozen=True, eq=False)
class Scan:
    """For every unit of the layers scanned: what excites it, how often it is on, and which class it tells.

    layers : one `Tally` per layer. records : of the images that any unit keeps, by number. top : examples asked for.
    images : how many were read. skipped : one sentence for each that could not be. notes : what a reader must know.
    warnings : what of the input contract seems wrong, see `innersight.input_warnings`.
    hashes : reads the perceptual hashes of all of them, int64. dataset : the one they came from, where it was one.
    again : gives an image by its name, to be read again.
    """

    model: Model
    layers: dict[str, Tally]
    records: Mapping[int, Record]
    top: int
    images: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    hashes: Callable[[], np.ndarray] = field(default=partial(np.zeros, 0, np.int64), repr=False)
    dataset: Any = field(default=None, repr=False)
    again: Callable[[str], ImageEntry] = field(default=again, repr=False)
    warnings: tuple[str, ...] = ()

    __repr__ = brief

    def examples(
        self, address: str | Address, *, count: int | None = None, lowest: bool = False
    ) -> tuple[Example, ...]:
        """Return the images that excite the unit `layer:unit` most, highest peak first.

        At most `count` (`top` when None). Images on which the unit is positive nowhere do not excite it, so there may
        be fewer, or none. lowest : those with the lowest places instead. Raises InnersightError for a layer that was
        not scanned or a unit it does not have.
        """
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        kind = "low_" if lowest else ""
        value, place, image = (getattr(tally, f"{kind}{key}")[one.unit] for key in ("value", "place", "image"))
        there = (image >= 0) if lowest else (image >= 0) & (value > 0)
        shown = slice(self.top if count is None else count)
        numbers, values, places = (some[there][shown].tolist() for some in (image, value, place))
        alike = self._copies(numbers)
        return tuple(
            Example(Path(self.records[n].name), v, (y, x), n, c)
            for n, v, (y, x), c in zip(numbers, values, places, alike, strict=True)
        )

    def bands(self, address: str | Address, shares: Sequence[float] = BANDS) -> tuple[tuple[float, Example], ...]:
        """Return (share, example) for each share of the images that the unit's peak on the example is as high as.

        From a random sample of up to 128 images, so a share is off by about 0.04.
        """
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        numbers, peaks = tally.raw["bands/numbers"], tally.raw["bands/peaks"][:, one.unit]
        places = tally.split(tally.raw["bands/places"][:, one.unit])
        order = [i for i in peaks.argsort(stable=True).tolist() if torch.isfinite(peaks[i])]
        found = []
        for share in shares if order else ():
            i = order[round(share * (len(order) - 1))]
            number, (y, x) = int(numbers[i]), places[i].tolist()
            copies_ = self._copies([number])[0]
            found.append((share, Example(Path(self.records[number].name), float(peaks[i]), (y, x), number, copies_)))
        return tuple(found)

    def crops(self, address: str | Address, examples: Sequence[Example], *, lowest: bool = False) -> list[Crop]:
        """Return what the unit sees of each example, in source pixels, with its map as a mask.

        The images are read again and pass the network once. Raises ImageError when one is gone.
        """
        one = self._address(address)
        if not examples:
            return []
        opened = reopen([self.records[example.number] for example in examples], self.model, self.dataset, self.again)
        seen = self._fields[one.layer]
        places = [example.place for example in examples]
        return crops(self.model, one.layer, one.unit, seen, opened, places, lowest=lowest)

    def sprites(self, study: str | Path, watch: Callable[[int, int, str], None] | None = None) -> list[Path]:
        """Write sheets of what every unit sees of its examples into a study's folder; see `innersight.scan.sprites`."""
        from innersight.scan.sprites import write

        return write(self, Path(study), watch)

    def digest(self) -> str:
        """Return what tells this scan from another: a digest of its examples, of the network and of the settings."""
        found = hashlib.blake2b(f"{self.model.digest()} {self.top} {self.images}".encode(), digest_size=16)
        for name, tally in self.layers.items():
            found.update(name.encode())
            for end in ("highest/keys", "highest/places"):
                found.update(tally.raw[end].contiguous().numpy().tobytes())
        return found.hexdigest()

    def correlation(self, layer: str, other: str | None = None) -> Float[Tensor, "units others"]:
        """Return how the peaks of a layer's units go together with those of another one's, or with each other's.

        Pearson's correlation over all images, -1 to 1; NaN for a unit whose peak is always the same. Raises
        InnersightError for layers that were not correlated.
        """
        other = other or layer
        one, two = self._tally(layer, []).correlations, self._tally(other, []).correlations
        if other in one:
            return one[other]
        if layer in two:
            return two[layer].T
        raise InnersightError(
            f"the units of {layer} and {other} were not correlated: scan with correlate=[({layer!r}, {other!r})]"
        )

    def alike(self, address: str | Address, *, layer: str | None = None, count: int = 8) -> tuple[Likeness, ...]:
        """Return the units whose peaks go together with those of `layer:unit`, most alike first.

        layer : of these units; its own when None. Raises InnersightError for layers that were not correlated.
        """
        one = self._address(address)
        self._tally(one.layer, [one.unit])
        where = layer or one.layer
        row = self.correlation(one.layer, where)[one.unit]
        order = [unit for unit in row.argsort(descending=True, stable=True).tolist() if row[unit] == row[unit]]
        own = one.unit if where == one.layer else None
        return tuple(Likeness(f"{where}:{unit}", float(row[unit])) for unit in order if unit != own)[:count]

    def class_maps(self, address: str | Address) -> Float[Tensor, "classes h w"]:
        """Return the mean map of a unit over the images of each class, raw, on a grid of at most 7x7.

        NaN for a class without images. Raises InnersightError where the scan has none.
        """
        one = self._address(address)
        found = self._tally(one.layer, [one.unit]).class_maps
        if found is None:
            raise InnersightError(
                "the scan has no class maps: scan images of the model's classes, with class_maps=True"
            )
        return found[:, one.unit]

    def class_map(self, address: str | Address, class_: str | int) -> Float[Tensor, "h w"]:
        """Return the mean map of a unit over the images of one class; see `class_maps`."""
        return self.class_maps(address)[self.model.class_index(class_)]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return per layer how many units are dead (positive nowhere) and always on (positive everywhere).

        selective : units of which the class explains at least a tenth of the peaks; None where no class is known.
        twins : units that correlate by 0.9 or more with another unit of the layer; None where that was not asked for.
        not_finite : maps that hold NaN or an infinity.
        """
        return {
            name: {
                "units": tally.units,
                "grid": list(tally.grid),
                "dead": int(tally.dead.sum()),
                "always_on": int(tally.always_on.sum()),
                "selective": None if tally.selectivity is None else int((tally.selectivity["share"] >= 0.1).sum()),
                "twins": _twins(tally.correlations.get(name)),
                "not_finite": tally.not_finite,
            }
            for name, tally in self.layers.items()
        }

    def natural(self, address: str | Address) -> tuple[float, float]:
        """Return the highest response of a unit and the 99.9th percentile over places, as pattern scores want them."""
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        return float(tally.value[one.unit, 0]), float(tally.quantile(0.999)[one.unit])

    def figure(self, layer: str | None = None, units: Sequence[int] | None = None, *, lowest: bool = False) -> "Figure":
        """Draw one row per unit: what it sees of its examples, highest peak first, dark where it does not answer.

        By default the deepest layer and its first eight units that are not dead. Raises ImageError when a file is
        gone.
        """
        from innersight.scan.figure import draw

        layer = layer or list(self.layers)[-1]
        tally = self._tally(layer, units or ())
        alive = torch.where(~tally.dead)[0].tolist() or list(range(tally.units))
        return draw(self, layer, list(units) if units is not None else alive[:SHOWN], lowest=lowest)

    def correlation_figure(self, layer: str | None = None, other: str | None = None) -> "Figure":
        """Draw the correlations of a layer's units, those that are alike side by side; by default the deepest layer."""
        from innersight.scan.sheets import draw_correlation

        return draw_correlation(self, layer or list(self.layers)[-1], other)

    def class_figure(self, layer: str | None = None, units: Sequence[int] | None = None) -> "Figure":
        """Draw one row per unit: its mean map for each class, the class with the highest mean first.

        By default the deepest layer and its eight most selective units.
        """
        from innersight.scan.sheets import draw_class_maps

        layer = layer or list(self.layers)[-1]
        chosen = self._tally(layer, units or ()).selectivity
        if units is None:
            units = [] if chosen is None else chosen["share"].nan_to_num(-1).argsort(descending=True)[:SHOWN].tolist()
        return draw_class_maps(self, layer, list(units) or [0])

    def to_json(self) -> dict[str, Any]:
        """Return per unit its mean, how often it is positive, its range, the class it tells, and its examples."""
        return {
            "model": self.model.name,
            "images": self.images,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "summary": self.summary(),
            "layers": {name: self._rows(name, tally) for name, tally in self.layers.items()},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return `LAYER/value`, `LAYER/place`, `LAYER/image`, `LAYER/mean` and `LAYER/positive`; see `Tally`.

        Where they were asked for also `LAYER/correlation/LAYER` and `LAYER/class_maps`.
        """
        kept = ("value", "place", "image", "mean", "positive")
        found = {f"{name}/{key}": getattr(tally, key) for name, tally in self.layers.items() for key in kept}
        for name, tally in self.layers.items():
            found |= {f"{name}/correlation/{other}": values for other, values in tally.correlations.items()}
            if tally.class_maps is not None:
                found[f"{name}/class_maps"] = tally.class_maps
        return found

    def save(self, path: str | Path) -> Path:
        """Write `.png` (the deepest layer), `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())

    @cached_property
    def _fields(self) -> dict[str, ReceptiveField]:
        return receptive_fields(self.model, list(self.layers))

    def _address(self, address: str | Address) -> "_Unit":
        if isinstance(address, str):
            parsed = parse(address)
            one = parsed[0]
            if len(parsed) != 1 or not isinstance(one, Address):
                raise InnersightError(f"{address!r} must name one unit: write layer:unit")
            address = one
        if address.unit is None:
            raise InnersightError(f"{str(address)!r} must name one unit: write {address.layer}:0")
        return _Unit(address.layer, address.unit)

    def _tally(self, layer: str, units: Sequence[int]) -> Tally:
        if layer not in self.layers:
            raise InnersightError(f"layer {layer!r} was not scanned; {nearest(layer, self.layers)}")
        tally = self.layers[layer]
        for unit in units:
            if not 0 <= unit < tally.units:
                raise InnersightError(f"{layer} has units 0-{tally.units - 1}, not {unit}")
        return tally

    @cached_property
    def _hashes(self) -> np.ndarray:
        return self.hashes()

    @cached_property
    def _counted(self) -> dict[int, int]:
        return {}

    def _copies(self, numbers: Sequence[int]) -> list[int]:
        """Return how many other images of the scan are nearly the same as each of these."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._counted]
        if new:
            own = np.array([self.records[number].likeness for number in new], np.int64)
            self._counted.update(zip(new, (copies(own, self._hashes) - 1).tolist(), strict=True))
        return [self._counted[number] for number in numbers]

    def _rows(self, name: str, tally: Tally) -> list[dict[str, Any]]:
        ranges = torch.stack([tally.quantile(share) for share in QUANTILES], 1).tolist()
        on = tally.on.tolist()
        classes = tally.selectivity
        correlated = name in tally.correlations
        rows = []
        for unit in range(tally.units):
            row: dict[str, Any] = {
                "address": f"{name}:{unit}",
                "mean": float(tally.mean[unit]),
                "positive": int(tally.positive[unit]) / max(1, int(tally.raw["presence/finite"][unit])),
                "on": on[unit] if on[unit] == on[unit] else None,
                "quantiles": dict(zip(map(str, QUANTILES), ranges[unit], strict=True)),
                "class": None if classes is None else self._class(classes, unit),
                "examples": [_plain(example) for example in self.examples(Address(name, unit))],
                "lowest": [_plain(example) for example in self.examples(Address(name, unit), lowest=True)],
                "bands": [{"share": s, **_plain(e)} for s, e in self.bands(Address(name, unit))],
                "alike": [vars(one) for one in self.alike(Address(name, unit), count=3)] if correlated else None,
            }
            rows.append(row)
        return rows

    def _class(self, classes: Mapping[str, Tensor], unit: int) -> dict[str, Any]:
        numbers = {key: float(values[unit]) for key, values in classes.items() if key != "best"}
        label = self.model.labels[int(classes["best"][unit])] if int(classes["best"][unit]) >= 0 else None
        return {"label": label, **{key: value if value == value else None for key, value in numbers.items()}}


@dataclass(frozen=True)
class _Unit:
    layer: str
    unit: int


def _twins(correlation: Tensor | None) -> int | None:
    if correlation is None:
        return None
    return int(((correlation >= TWINS) & ~torch.eye(len(correlation), dtype=torch.bool)).any(1).sum())


def _plain(example: Example) -> dict[str, Any]:
    return {
        "image": str(example.path),
        "value": example.value,
        "place": list(example.place),
        "copies": example.copies,
    }
