"""The statistics of a scan: one file each, with a class that takes in batches, merges, and can be stored."""

from collections.abc import Callable

from innersight.scan.kinds.bands import Bands
from innersight.scan.kinds.classes import Classes
from innersight.scan.kinds.classmaps import ClassMaps
from innersight.scan.kinds.correlation import Correlation
from innersight.scan.kinds.extremes import Highest, Lowest
from innersight.scan.kinds.presence import Presence
from innersight.scan.kinds.room import Choosy, Room, Statistic
from innersight.scan.kinds.sketch import Sketch

KINDS: dict[str, Callable[[Room], Statistic]] = {
    "presence": Presence,
    "highest": Highest,
    "lowest": Lowest,
    "bands": Bands,
    "sketch": Sketch,
    "classes": Classes,
    "class_maps": ClassMaps,
    "correlation": Correlation,
}

__all__ = ["KINDS", "Choosy", "Room", "Statistic"]
