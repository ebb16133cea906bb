"""Scan: the pictures of a folder that excite each unit most, found in one pass."""

from innersight.scan.engine import Example, Scan, scan
from innersight.scan.tally import Tally

__all__ = ["Example", "Scan", "Tally", "scan"]
