"""Examples of a unit, and units like it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from innersight.address import Address, parse
from innersight.errors import InnersightError

if TYPE_CHECKING:
    from innersight.scan.result import Scan
    from innersight.scan.tally import Tally


@dataclass(frozen=True)
class Example:
    """An image to which a unit responds strongly, or least.

    Attributes
    ----------
    path : pathlib.Path
        Of the file; TAR/MEMBER in a tar file, #NUMBER in a data set.
    value : float
        The highest value of the unit's map, or the lowest, raw.
    location : (int, int)
        (y, x) of it in the layer's grid.
    number : int
        Of the image in the scan.
    copies : int
        How many other images of the scan are near-duplicates of it, by perceptual hash.

    """

    path: Path
    value: float
    location: tuple[int, int]
    number: int
    copies: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the example as plain data."""
        return {
            "image": str(self.path),
            "value": self.value,
            "location": list(self.location),
            "copies": self.copies,
        }


@dataclass(frozen=True)
class SimilarUnit:
    """A unit that responds to the same images.

    Attributes
    ----------
    address : str
        Of the unit.
    correlation : float
        Pearson's, of the peaks over all images, -1 to 1.

    """

    address: str
    correlation: float


@dataclass(frozen=True)
class _Unit:
    layer: str
    unit: int


def unit_of(address: str | Address) -> _Unit:
    """Return the layer and the number of the unit that an address names. Raises InnersightError where it names none."""
    if isinstance(address, str):
        parsed = parse(address)
        one = parsed[0]
        if len(parsed) != 1 or not isinstance(one, Address):
            raise InnersightError(f"{address!r} must name one unit: write layer:unit")
        address = one
    if address.unit is None:
        raise InnersightError(f"{str(address)!r} must name one unit: write {address.layer}:0")
    return _Unit(address.layer, address.unit)


def correlation_of(scan: "Scan", layer: str, other: str) -> Float[Tensor, "units others"]:
    """Return the correlation of two layers' units; see `Scan.correlation`."""
    one, two = scan.tally(layer)[1].correlations, scan.tally(other)[1].correlations
    if other in one:
        return one[other]
    if layer in two:
        return two[layer].T
    raise InnersightError(f"{layer} and {other} were not correlated: scan with correlate=[({layer!r}, {other!r})]")


def similar_units(scan: "Scan", address: str | Address, layer: str | None, limit: int) -> tuple[SimilarUnit, ...]:
    """Return the units that respond to the same images; see `Scan.similar`."""
    one = unit_of(address)
    scan.tally(one.layer, [one.unit])
    where = layer or one.layer
    row = correlation_of(scan, one.layer, where)[one.unit]
    order = [unit for unit in row.argsort(descending=True, stable=True).tolist() if row[unit] == row[unit]]
    own = one.unit if where == one.layer else None
    return tuple(SimilarUnit(f"{where}:{unit}", float(row[unit])) for unit in order if unit != own)[:limit]


def unit_rows(scan: "Scan", layer: str, tally: "Tally") -> list[dict[str, Any]]:
    """Return the statistics and examples of every unit of a layer as plain data."""
    correlated = layer in tally.correlations
    rows = []
    for unit, numbers in enumerate(tally.rows(scan.model.labels)):
        address = Address(layer, unit)
        rows.append(
            {
                "address": str(address),
                **numbers,
                "examples": [example.to_json() for example in scan.examples(address)],
                "lowest": [example.to_json() for example in scan.examples(address, lowest=True)],
                "bands": [{"share": share, **example.to_json()} for share, example in scan.bands(address)],
                "similar": [vars(one) for one in scan.similar(address, limit=3)] if correlated else None,
            }
        )
    return rows
