"""A study: a folder with everything computed for one model and some pictures; resumable, re-renders without the model."""

from innersight.study.plan import Plan
from innersight.study.study import Study, study

__all__ = ["Plan", "Study", "study"]
