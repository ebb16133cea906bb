"""Patterns: the image that drives a unit or class most (activation maximization)."""

from innersight.patterns.engine import estimate, patterns
from innersight.patterns.interpretability import Interpretability, interpretability
from innersight.patterns.natural import Statistics
from innersight.patterns.objectives import Objective, objectives
from innersight.patterns.parameterize import parameterizations
from innersight.patterns.progress import Estimate, Progress
from innersight.patterns.result import Patterns
from innersight.patterns.score import Score
from innersight.patterns.transforms import Views

__all__ = [
    "Estimate",
    "Interpretability",
    "Objective",
    "Patterns",
    "Progress",
    "Score",
    "Statistics",
    "Views",
    "estimate",
    "interpretability",
    "objectives",
    "parameterizations",
    "patterns",
]
