"""Heatmaps: how much each place of an image counts for a class."""

from innersight.heatmaps.engine import explain
from innersight.heatmaps.request import Answer, Request, Trial, UnfitError, methods
from innersight.heatmaps.result import Heatmap, Heatmaps
from innersight.heatmaps.target import Target

__all__ = ["Answer", "Heatmap", "Heatmaps", "Request", "Target", "Trial", "UnfitError", "explain", "methods"]
