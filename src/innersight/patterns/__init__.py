"""Patterns: the image that activates a unit or class most (activation maximization)."""

from innersight.patterns.engine import estimate, patterns
from innersight.patterns.epochs import over_epochs
from innersight.patterns.growth import PatternGrowth
from innersight.patterns.interpretability import Interpretability, interpretability
from innersight.patterns.judge import PatternVerdict
from innersight.patterns.objectives import Objective, objectives
from innersight.patterns.options import PatternOptions, Statistics, Views
from innersight.patterns.parameterize import measure_statistics, parameterizations
from innersight.patterns.result import PatternEstimate, PatternProgress, Patterns
from innersight.patterns.score import Score

__all__ = [
    "Interpretability",
    "Objective",
    "PatternEstimate",
    "PatternGrowth",
    "PatternOptions",
    "PatternProgress",
    "PatternVerdict",
    "Patterns",
    "Score",
    "Statistics",
    "Views",
    "estimate",
    "interpretability",
    "measure_statistics",
    "objectives",
    "over_epochs",
    "parameterizations",
    "patterns",
]
