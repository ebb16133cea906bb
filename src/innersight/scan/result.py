"""What `scan` returns: examples and statistics of every unit."""

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
from innersight.errors import InnersightError, nearest
from innersight.inputs import ImageEntry, again
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.result import Result, drawn
from innersight.scan.crops import Crop, crops, reopen
from innersight.scan.examples import Example, SimilarUnit
from innersight.scan.ledger import Record
from innersight.scan.perceptual_hash import copies
from innersight.scan.tally import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False, repr=False)
class Scan(Result):
    """For every unit of the layers scanned: its examples, how often it is active, and which class it responds to.

    layers : one `Tally` per layer. records : of the images that any unit keeps, by number. limit : examples asked for.
    images : how many were read. skipped : one sentence for each file that could not be read. notes : how the images and
    labels were understood. warnings : what of the input contract seems wrong, see `innersight.input_warnings`.
    hashes : reads the perceptual hashes of all images, int64. dataset : the one they came from, where it was one.
    again : opens an image by its name.
    """

    model: Model
    layers: dict[str, Tally]
    records: Mapping[int, Record]
    limit: int
    images: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    hashes: Callable[[], np.ndarray] = field(default=partial(np.zeros, 0, np.int64), repr=False)
    dataset: Any = field(default=None, repr=False)
    again: Callable[[str], ImageEntry] = field(default=again, repr=False)
    warnings: tuple[str, ...] = ()

    def examples(
        self, address: str | Address, *, limit: int | None = None, lowest: bool = False
    ) -> tuple[Example, ...]:
        """Return the images to which a unit responds most, highest peak first.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.
        limit
            At most this many; as many as the scan was asked for when None. Images on which the unit is positive nowhere
            are left out, so there may be fewer, or none.
        lowest
            Return the images with the lowest values of the unit's map instead, lowest first.

        Returns
        -------
        tuple of Example
            Images with value and location.

        Raises
        ------
        InnersightError
            For a layer that was not scanned, or a unit it does not have.

        """
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        kind = "low_" if lowest else ""
        value, location, image = (getattr(tally, f"{kind}{key}")[one.unit] for key in ("value", "location", "image"))
        present = (image >= 0) if lowest else (image >= 0) & (value > 0)
        first = slice(self.limit if limit is None else limit)
        numbers, values, locations = (some[present][first].tolist() for some in (image, value, location))
        copies_ = self._copies(numbers)
        return tuple(
            Example(Path(self.records[n].name), v, (y, x), n, c)
            for n, v, (y, x), c in zip(numbers, values, locations, copies_, strict=True)
        )

    def bands(self, address: str | Address, shares: Sequence[float] = BANDS) -> tuple[tuple[float, Example], ...]:
        """Return one example for each share, whose peak is higher than on that share of the images.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.
        shares
            0 to 1.

        Returns
        -------
        tuple of (float, Example)
            Share and example. From a random sample of up to 128 images, so a share is off by about 0.04.

        """
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        numbers, peaks = tally.raw["bands/numbers"], tally.raw["bands/peaks"][:, one.unit]
        locations = tally.split(tally.raw["bands/locations"][:, one.unit])
        order = [i for i in peaks.argsort(stable=True).tolist() if torch.isfinite(peaks[i])]
        found = []
        for share in shares if order else ():
            i = order[round(share * (len(order) - 1))]
            number, (y, x) = int(numbers[i]), locations[i].tolist()
            copies_ = self._copies([number])[0]
            found.append((share, Example(Path(self.records[number].name), float(peaks[i]), (y, x), number, copies_)))
        return tuple(found)

    def crops(self, address: str | Address, examples: Sequence[Example], *, lowest: bool = False) -> list[Crop]:
        """Return the part of each example that the unit responds to, in source pixels, with its map as a mask.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.
        examples
            As `examples` or `bands` return them. Their images are read again and pass the network once.
        lowest
            The examples are those with the lowest values.

        Returns
        -------
        list of Crop
            One for each example.

        Raises
        ------
        ImageError
            When an image is gone or has changed.

        """
        one = self._address(address)
        if not examples:
            return []
        reopened = reopen([self.records[example.number] for example in examples], self.model, self.dataset, self.again)
        field = self._fields[one.layer]
        locations = [example.location for example in examples]
        return crops(self.model, one.layer, one.unit, field, reopened, locations, lowest=lowest)

    def digest(self) -> str:
        """Return a digest of the examples, the network and the settings; equal digests mean equal scans."""
        found = hashlib.blake2b(f"{self.model.digest()} {self.limit} {self.images}".encode(), digest_size=16)
        for name, tally in self.layers.items():
            found.update(name.encode())
            for end in ("highest/keys", "highest/locations"):
                found.update(tally.raw[end].contiguous().numpy().tobytes())
        return found.hexdigest()

    def correlation(self, layer: str, other: str | None = None) -> Float[Tensor, "units others"]:
        """Return Pearson's correlation of the peaks of a layer's units with those of another layer, over all images.

        Parameters
        ----------
        layer
            Its units are the rows.
        other
            Its units are the columns; the same layer when None.

        Returns
        -------
        torch.Tensor
            (units, others) float32, -1 to 1; NaN for a unit whose peak is the same on every image.

        Raises
        ------
        InnersightError
            For layers that were not scanned or not correlated.

        """
        other = other or layer
        one, two = self._tally(layer, []).correlations, self._tally(other, []).correlations
        if other in one:
            return one[other]
        if layer in two:
            return two[layer].T
        raise InnersightError(f"{layer} and {other} were not correlated: scan with correlate=[({layer!r}, {other!r})]")

    def similar(self, address: str | Address, *, layer: str | None = None, limit: int = 8) -> tuple[SimilarUnit, ...]:
        """Return the units that respond to the same images as a unit, by the correlation of their peaks.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.
        layer
            Layer of the units returned; the unit's own when None.
        limit
            At most this many.

        Returns
        -------
        tuple of SimilarUnit
            Highest correlation first.

        Raises
        ------
        InnersightError
            For layers that were not scanned or not correlated.

        """
        one = self._address(address)
        self._tally(one.layer, [one.unit])
        where = layer or one.layer
        row = self.correlation(one.layer, where)[one.unit]
        order = [unit for unit in row.argsort(descending=True, stable=True).tolist() if row[unit] == row[unit]]
        own = one.unit if where == one.layer else None
        return tuple(SimilarUnit(f"{where}:{unit}", float(row[unit])) for unit in order if unit != own)[:limit]

    def class_maps(self, address: str | Address) -> Float[Tensor, "classes h w"]:
        """Return the mean map of a unit over the images of each class.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.

        Returns
        -------
        torch.Tensor
            (classes, h, w) float32, raw, on at most 7 x 7 cells; NaN for a class without images.

        Raises
        ------
        InnersightError
            Where the scan has no class maps.

        """
        one = self._address(address)
        found = self._tally(one.layer, [one.unit]).class_maps
        if found is None:
            raise InnersightError(
                "the scan has no class maps: scan images of the model's classes, with class_maps=True"
            )
        return found[:, one.unit]

    def class_map(self, address: str | Address, class_: str | int) -> Float[Tensor, "h w"]:
        """Return the mean map of a unit over the images of one class, given by label or number; see `class_maps`."""
        return self.class_maps(address)[self.model.class_index(class_)]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return counts of every layer's units.

        Returns
        -------
        dict
            By layer: units, grid (h, w), dead (units that are positive nowhere), always_active (positive everywhere),
            selective (units whose class explains at least a tenth of the variance of their peaks; None where no class
            is known), twins (units that correlate by 0.9 or more with another unit of the layer; None without
            `correlate`), not_finite (maps that contain NaN or infinity).

        """
        return {
            name: {
                "units": tally.units,
                "grid": list(tally.grid),
                "dead": int(tally.dead.sum()),
                "always_active": int(tally.always_active.sum()),
                "selective": None if tally.selectivity is None else int((tally.selectivity["share"] >= 0.1).sum()),
                "twins": tally.twins(name),
                "not_finite": tally.not_finite,
            }
            for name, tally in self.layers.items()
        }

    def natural(self, address: str | Address) -> tuple[float, float]:
        """Return the highest activation of a unit and its 99.9th percentile, to compare patterns with."""
        one = self._address(address)
        tally = self._tally(one.layer, [one.unit])
        return float(tally.value[one.unit, 0]), float(tally.quantile(0.999)[one.unit])

    def tally(self, layer: str | None = None, units: Sequence[int] = ()) -> tuple[str, Tally]:
        """Return a layer, the deepest when None, and its statistics.

        Raises InnersightError for a layer that was not scanned, and for `units` it does not have.
        """
        layer = layer or list(self.layers)[-1]
        return layer, self._tally(layer, units)

    def correlation_figure(self, **drawing: Any) -> "Figure":
        """Draw the correlations of units; options of `innersight.plots.scan_relations.scan_correlation`."""
        return drawn("scan-correlation", self, drawing)

    def class_figure(self, **drawing: Any) -> "Figure":
        """Draw the class maps of units; options of `innersight.plots.scan_relations.scan_class_maps`."""
        return drawn("scan-class-maps", self, drawing)

    def to_json(self) -> dict[str, Any]:
        """Return the statistics and examples of every unit as plain data."""
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
        """Return `LAYER/value`, `LAYER/location`, `LAYER/image`, `LAYER/mean` and `LAYER/positive`; see `Tally`.

        With `correlate` and `class_maps` also `LAYER/correlation/LAYER` and `LAYER/class_maps`.
        """
        kept = ("value", "location", "image", "mean", "positive")
        found = {f"{name}/{key}": getattr(tally, key) for name, tally in self.layers.items() for key in kept}
        for name, tally in self.layers.items():
            found |= {f"{name}/correlation/{other}": values for other, values in tally.correlations.items()}
            if tally.class_maps is not None:
                found[f"{name}/class_maps"] = tally.class_maps
        return found

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
        """Return how many other images of the scan are near-duplicates of each of these."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._counted]
        if new:
            own = np.array([self.records[number].phash for number in new], np.int64)
            self._counted.update(zip(new, (copies(own, self._hashes) - 1).tolist(), strict=True))
        return [self._counted[number] for number in numbers]

    def _rows(self, name: str, tally: Tally) -> list[dict[str, Any]]:
        correlated = name in tally.correlations
        rows = []
        for unit, numbers in enumerate(tally.rows(self.model.labels)):
            address = Address(name, unit)
            rows.append(
                {
                    "address": str(address),
                    **numbers,
                    "examples": [example.to_json() for example in self.examples(address)],
                    "lowest": [example.to_json() for example in self.examples(address, lowest=True)],
                    "bands": [{"share": share, **example.to_json()} for share, example in self.bands(address)],
                    "similar": [vars(one) for one in self.similar(address, limit=3)] if correlated else None,
                }
            )
        return rows


@dataclass(frozen=True)
class _Unit:
    layer: str
    unit: int
