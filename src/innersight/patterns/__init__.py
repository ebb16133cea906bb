"""Patterns: the picture that drives a unit or a class most (activation maximization)."""

from innersight.patterns.engine import Patterns, Score, patterns
from innersight.patterns.parameterize import parameterizations

__all__ = ["Patterns", "Score", "parameterizations", "patterns"]
