"""The report of what a command leaves in a study: of the study that is there, or of one made around it."""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from innersight.layers import has_grid
from innersight.model import Model
from innersight.storage.store import Store
from innersight.study.plan import Plan
from innersight.study.result import Study
from innersight.study.run import ReportProgress
from innersight.study.runner import FIRST_IMAGES, study


def report_around(
    model: Model, images: Any, named: Iterable[Sequence[str]], folder: Path, progress: ReportProgress | None = None
) -> Path:
    """Write FOLDER/report.html, and return it.

    Where the folder holds no study yet, one is made without patterns. images : what the command read. named : images
    by name, several lists; the study shows files of each in turn, or else the first images. Raises InnersightError
    where that cannot be.
    """
    if Store.open(folder).get("model") is None:
        method = "gradcam" if has_grid(model) else "saliency"
        plan = Plan(units=0, methods=(method,), rivals=False, trust=0, concepts=0)
        study(model, files(named) or images, folder, plan=plan, progress=progress)
    return Study.open(folder).report(folder / "report.html")


def files(named: Iterable[Sequence[str]], limit: int = FIRST_IMAGES) -> list[str]:
    """Return those names that are files, of each list in turn, each once."""
    turns = chain.from_iterable(zip_longest(*named))
    found = (name for name in dict.fromkeys(turns) if name is not None and Path(name).is_file())
    return [name for name, _ in zip(found, range(limit), strict=False)]
