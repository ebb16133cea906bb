"""The report of an audit: of the study that it is kept in, made around it where there was none."""

from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from innersight.audit import Audit
from innersight.layers import has_grid
from innersight.storage.store import Store
from innersight.study.plan import Plan
from innersight.study.result import Study
from innersight.study.run import ReportProgress
from innersight.study.runner import FIRST_IMAGES, study


def report_audit(found: Audit, images: Any, folder: Path, progress: ReportProgress | None = None) -> Path:
    """Write FOLDER/report.html with the findings first, and return it.

    Where the folder holds no study yet, one is made without patterns, of images that the findings name, else of the
    first ones. images : what was audited. Raises InnersightError where that cannot be.
    """
    if Store.open(folder).get("model") is None:
        method = "gradcam" if has_grid(found.model) else "saliency"
        plan = Plan(units=0, methods=(method,), rivals=False, trust=0)
        study(found.model, named(found) or images, folder, plan=plan, progress=progress)
    return Study.open(folder).report(folder / "report.html")


def named(found: Audit, limit: int = FIRST_IMAGES) -> list[str]:
    """Return files that the findings name, those of each in turn."""
    turns = chain.from_iterable(zip_longest(*(one.images for one in found.findings)))
    files = (name for name in dict.fromkeys(turns) if name is not None and Path(name).is_file())
    return [name for name, _ in zip(files, range(limit), strict=False)]
