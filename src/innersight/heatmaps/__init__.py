"""Heatmaps: how much each location of an image counts for a class."""

from innersight.heatmaps.cost import default_methods
from innersight.heatmaps.engine import explain
from innersight.heatmaps.request import MethodOutput, Request, Trial, UnfitError, methods
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.heatmaps.target import Target

__all__ = [
    "Heatmap",
    "Heatmaps",
    "MethodOutput",
    "Request",
    "Target",
    "Trial",
    "UnfitError",
    "default_methods",
    "explain",
    "methods",
]
