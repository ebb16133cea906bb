"""A study: the folder with everything computed for one model and images; resumable, re-renders without the model."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innersight.study.around import keep_matching as keep_matching
    from innersight.study.plan import Plan as Plan
    from innersight.study.result import Study as Study
    from innersight.study.runner import study as study

# The server reads what can be asked of a study without loading torch.
_HOME = {
    "Plan": "innersight.study.plan",
    "Study": "innersight.study.result",
    "keep_matching": "innersight.study.around",
    "study": "innersight.study.runner",
}
__all__ = ["Plan", "Study", "keep_matching", "study"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'innersight.study' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
