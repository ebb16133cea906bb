"""Matching: two checkpoints of one network, unit by unit: what stayed, moved, was born, died."""

from innersight.matching.engine import match
from innersight.matching.result import DEFINITION, LayerMatch, Matching

__all__ = ["DEFINITION", "LayerMatch", "Matching", "match"]
