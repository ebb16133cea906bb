"""What `scan` returns: examples and statistics of every unit."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from innersight.address import Address
from innersight.errors import InnersightError, nearest
from innersight.inputs import ImageEntry, again
from innersight.layer import ReceptiveField
from innersight.model import Model
from innersight.receptive_field import receptive_fields
from innersight.result import Result, drawn
from innersight.scan.crops import Crop, crops, reopen
from innersight.scan.examples import Example, SimilarUnit, correlation_of, similar_units, unit_of, unit_rows
from innersight.scan.features import Features
from innersight.scan.perceptual_hash import Duplicates
from innersight.scan.predictions import ScanPredictions
from innersight.scan.record import Record
from innersight.scan.tally import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False, repr=False)
class Scan(Result):
    """For every unit its examples, how often it is active and for which class; for every image what is predicted.

    Attributes
    ----------
    model : Model
        The network.
    layers : dict of str to Tally
        The statistics of each layer, by name.
    records : Mapping of int to Record
        Of the images that any unit keeps, and of those in `features`, by number.
    limit : int
        Examples asked for.
    images : int
        How many were read.
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How the images and labels were understood.
    hashes : callable
        Reads the perceptual hashes of all images, int64.
    dataset : object
        The data set that the images came from; None where there was none.
    again : callable
        Opens an image by its name.
    warnings : tuple of str
        What of the input contract seems wrong, see `innersight.input_warnings`.
    features : Features or None
        The vectors of up to 2,000 images, drawn at random, in the last rectified layer: what is usual for the network.
        None for a network without class scores, or without maps larger than 1x1.
    predicted : callable or None
        Reads `predictions`.

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
    features: Features | None = None
    predicted: Callable[[], ScanPredictions] | None = field(default=None, repr=False)

    @cached_property
    def predictions(self) -> ScanPredictions | None:
        """What every image is predicted as; None for a network without class scores."""
        return None if self.predicted is None else self.predicted()

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
        one = unit_of(address)
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
        one = unit_of(address)
        found = self._tally(one.layer, [one.unit]).bands(one.unit, shares)
        return tuple(
            (share, Example(Path(self.records[number].name), peak, location, number, self._copies([number])[0]))
            for share, number, peak, location in found
        )

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
        one = unit_of(address)
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
        return correlation_of(self, layer, other or layer)

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
        return similar_units(self, address, layer, limit)

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
        one = unit_of(address)
        found = self._tally(one.layer, [one.unit]).class_maps
        if found is None:
            raise InnersightError(
                "the scan has no class maps: scan images of the model's classes, with class_maps=True"
            )
        return found[:, one.unit]

    def class_map(self, address: str | Address, class_: str | int) -> Float[Tensor, "h w"]:
        """Return the mean map of a unit over the images of one class; see `class_maps`.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.
        class_
            Label or number of the class.

        """
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
        return {name: tally.summary(name) for name, tally in self.layers.items()}

    def natural(self, address: str | Address) -> tuple[float, float]:
        """Return the highest activation of a unit and its 99.9th percentile, to compare patterns with.

        Parameters
        ----------
        address
            Of the unit: `layer:unit`.

        Returns
        -------
        (float, float)
            Raw, over all images; the percentile is over all locations.

        """
        one = unit_of(address)
        tally = self._tally(one.layer, [one.unit])
        return float(tally.value[one.unit, 0]), float(tally.quantile(0.999)[one.unit])

    def tally(self, layer: str | None = None, units: Sequence[int] = ()) -> tuple[str, Tally]:
        """Return the name of a layer and its statistics.

        Parameters
        ----------
        layer
            Its name; the deepest layer scanned when None.
        units
            Numbers that the layer must have.

        Raises
        ------
        InnersightError
            For a layer that was not scanned, and for `units` it does not have.

        """
        layer = layer or list(self.layers)[-1]
        return layer, self._tally(layer, units)

    def correlation_figure(self, **drawing: Any) -> "Figure":
        """Draw the correlations of units.

        Parameters
        ----------
        **drawing
            Options of `innersight.plots.scan_relations.scan_correlation`.

        """
        return drawn("scan-correlation", self, drawing)

    def class_figure(self, **drawing: Any) -> "Figure":
        """Draw the class maps of units.

        Parameters
        ----------
        **drawing
            Options of `innersight.plots.scan_relations.scan_class_maps`.

        """
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
            "predictions": None if self.predictions is None else self.predictions.to_json(),
            "layers": {name: unit_rows(self, name, tally) for name, tally in self.layers.items()},
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

    def _tally(self, layer: str, units: Sequence[int]) -> Tally:
        if layer not in self.layers:
            raise InnersightError(f"layer {layer!r} was not scanned; {nearest(layer, self.layers)}")
        tally = self.layers[layer]
        for unit in units:
            if not 0 <= unit < tally.units:
                raise InnersightError(f"{layer} has units 0-{tally.units - 1}, not {unit}")
        return tally

    @cached_property
    def _duplicates(self) -> Duplicates:
        return Duplicates(self.hashes)

    def _copies(self, numbers: Sequence[int]) -> list[int]:
        counted = self._duplicates.count({number: self.records[number].phash for number in numbers})
        return [counted[number] for number in numbers]
