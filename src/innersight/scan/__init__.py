"""Scan: what every unit of a network responds to in a whole data set, found in one pass."""

from innersight.scan.engine import load_scan, scan
from innersight.scan.examples import Example, SimilarUnit
from innersight.scan.features import Features
from innersight.scan.options import Batching
from innersight.scan.predictions import CalibrationBin, PredictedImage, ScanPredictions
from innersight.scan.result import Scan
from innersight.scan.scores import ClassScores
from innersight.scan.sprites import write_sprites
from innersight.scan.tally import Tally

__all__ = [
    "Batching",
    "CalibrationBin",
    "ClassScores",
    "Example",
    "Features",
    "PredictedImage",
    "Scan",
    "ScanPredictions",
    "SimilarUnit",
    "Tally",
    "load_scan",
    "scan",
    "write_sprites",
]
