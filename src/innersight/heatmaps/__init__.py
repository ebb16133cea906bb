"""Heatmaps: how much each place of a picture counts for a class."""

from innersight.heatmaps.engine import Heatmap, Heatmaps, explain
from innersight.heatmaps.request import Request

__all__ = ["Heatmap", "Heatmaps", "Request", "explain"]
