"""Find the units that respond to a region of an image, and to nothing else in it."""

from innersight.find.engine import find
from innersight.find.regions import WHOLE, Query, parse_region
from innersight.find.result import DEFINITION, UnitRanking

__all__ = ["DEFINITION", "WHOLE", "Query", "UnitRanking", "find", "parse_region"]
