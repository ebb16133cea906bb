"""What an independent network takes the patterns of classes for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from innersight import tap
from innersight.address import ClassAddress
from innersight.heads import readable
from innersight.model import Model
from innersight.patterns.objectives import Objective

BATCH = 16


@dataclass(frozen=True)
class PatternVerdict:
    """What an independent network takes the pattern of a class for.

    Attributes
    ----------
    label : str
        The class that it predicts.
    probability : float or None
        Of that class, 0 to 1; None where its scores stand for no probability.
    rank : int or None
        Position of the pattern's own class among its predictions, 1 being the first; None where it has no class of this
        name.

    """

    label: str
    probability: float | None
    rank: int | None

    def __str__(self) -> str:
        sure = "" if self.probability is None else f", {self.probability:.0%}"
        return f"{self.label}{sure}"


def verdicts(
    judge: Model, targets: Sequence[Objective], images: Tensor
) -> tuple[tuple[PatternVerdict | None, ...], tuple[str, ...]]:
    """Return the verdict on each image (n, C, H, W) in 0..1, None for what is no class; and what must be known.

    Images are resized to the input of the judge. Classes are matched by their labels.
    """
    names = [_class(target) for target in targets]
    asked = [i for i, name in enumerate(names) if name is not None]
    found: list[PatternVerdict | None] = [None] * len(targets)
    unread: list[int] = []
    own = images[:, :1].expand(-1, judge.input.channels, -1, -1) if images.shape[1] == 1 else images
    if asked and own.shape[1] != judge.input.channels:
        note = f"{judge.name} takes {judge.input.channels} channels, and the patterns have {own.shape[1]}: not judged"
        return tuple(found), (note,)
    with tap.untouched(judge), torch.no_grad():
        for start in range(0, len(asked), BATCH):
            rows = asked[start : start + BATCH]
            size = (judge.input.height, judge.input.width)
            pixels = F.interpolate(own[rows], size, mode="bilinear", antialias=True, align_corners=False)
            logits = judge.output(judge.input.normalise(pixels.to(judge.device)).to(judge.dtype)).float().cpu()
            sure = judge.probabilities(logits) if judge.has_probabilities else None
            for row, i in enumerate(rows):
                if not bool(readable(logits[row])):
                    unread.append(i)
                    continue
                order = logits[row].argsort(descending=True, stable=True).tolist()
                name = names[i]
                rank = order.index(judge.labels.index(name)) + 1 if name in judge.labels else None
                first = order[0]
                probability = None if sure is None else float(sure[row, first])
                found[i] = PatternVerdict(judge.labels[first], probability, rank)
    strange = [name for i, name in enumerate(names) if name is not None and name not in judge.labels]
    known = f"{judge.name} has no class {strange[0]!r}" if strange else ""
    more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
    notes = [f"{known}{more}: it names its own classes"] if strange else []
    if unread:
        notes.append(f"{judge.name} gives scores that are not finite for {len(unread)} of the patterns: not judged")
    return tuple(found), tuple(notes)


def _class(target: Objective) -> str | None:
    """Return the label of the class whose score or probability alone is maximized."""
    (first, *rest) = target.terms
    address = first.address
    return address.name if not rest and first.weight > 0 and isinstance(address, ClassAddress) else None
