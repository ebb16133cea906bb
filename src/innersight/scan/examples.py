"""Examples of a unit, and units like it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Example:
    """An image to which a unit responds strongly, or least.

    path : of the file; TAR/MEMBER in a tar file, #NUMBER in a data set. value : the highest value of the unit's map, or
    the lowest, raw. location : (y, x) of it in the layer's grid. number : of the image in the scan. copies : how many
    other images of the scan are near-duplicates of it, by perceptual hash.
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

    address : of the unit. correlation : Pearson's, of the peaks over all images, -1 to 1.
    """

    address: str
    correlation: float
