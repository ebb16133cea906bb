"""Patterns: the image that drives a unit or class most (activation maximization)."""

from innersight.patterns.engine import estimate, patterns
from innersight.patterns.interpretability import Interpretability, interpretability
from innersight.patterns.objectives import Objective, objectives
from innersight.patterns.options import PatternOptions, Statistics, Views
from innersight.patterns.parameterize import parameterizations
from innersight.patterns.progress import Estimate, Progress
from innersight.patterns.result import Patterns
from innersight.patterns.score import Score

__all__ = [
    "Estimate",
    "Interpretability",
    "Objective",
    "PatternOptions",
    "Patterns",
    "Progress",
    "Score",
    "Statistics",
    "Views",
    "estimate",
    "interpretability",
    "measure",
    "objectives",
    "parameterizations",
    "patterns",
]
