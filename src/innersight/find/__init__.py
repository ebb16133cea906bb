"""Find the filter: which units answer to a region of an image, and to nothing else there."""

from innersight.find.engine import find, rank
from innersight.find.regions import Query, parse_region
from innersight.find.result import DEFINITION, Finding
from innersight.find.score import STRONGEST, average_precision, fits

__all__ = [
    "DEFINITION",
    "STRONGEST",
    "Finding",
    "Query",
    "average_precision",
    "find",
    "fits",
    "parse_region",
    "rank",
]
