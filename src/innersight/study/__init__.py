"""A study: the folder with everything computed for one model and pictures; resumable, re-renders without the model."""

from innersight.study.plan import Plan
from innersight.study.work import Study, study

__all__ = ["Plan", "Study", "study"]
