"""Scan: what excites each unit of a network in a whole data set, found in one pass."""

from innersight.scan.engine import scan, stored
from innersight.scan.result import Example, Scan
from innersight.scan.tally import Tally

__all__ = ["Example", "Scan", "Tally", "scan", "stored"]
