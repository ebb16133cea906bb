"""Find the units that respond to a region of an image, and to nothing else in it."""

from innersight.find.engine import find, rank
from innersight.find.regions import WHOLE, Query, parse_region
from innersight.find.result import DEFINITION, UnitRanking
from innersight.find.score import STRONGEST, average_precision, fits

__all__ = [
    "DEFINITION",
    "STRONGEST",
    "WHOLE",
    "Query",
    "UnitRanking",
    "average_precision",
    "find",
    "fits",
    "parse_region",
    "rank",
]
