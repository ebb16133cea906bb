"""Units that do nothing, or all do the same."""

import torch

from innersight.audit.checks import NotCheckedError, Report, checks
from innersight.audit.finding import Finding
from innersight.audit.subject import Subject


@checks.register("Units", order=70, limits="")
def units(subject: Subject) -> Report:
    """Dead units of the layer that heatmaps are read from."""
    if subject.layer is None:
        raise NotCheckedError("the network has no layer with a grid")
    dead = (subject.table.features == 0).all(0)
    sentence = f"{int(dead.sum())} of {len(dead)} units are dead"
    found = [Finding("units", None, sentence, True)] if torch.any(dead) else []
    return Report(found, f"the {len(dead)} units of {subject.layer}")
