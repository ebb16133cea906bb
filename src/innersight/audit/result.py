"""What `audit` returns: findings, what was checked, and what that could have missed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from innersight.audit.finding import Checked, Finding
from innersight.model import Model
from innersight.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Result):
    """What is wrong with a classifier, as `innersight.audit` returns it.

    Attributes
    ----------
    model : Model
        The network.
    findings : tuple of Finding
        The confirmed ones first.
    checked : tuple of Checked
        One for each check that there is: what it looked at, or why it did not run.
    images : int
        How many images were read.
    passes : int
        Forward passes of single images that it took; a forward and a backward pass count as three.
    budget : str
        "quick" or "full".
    skipped : tuple of str
        One sentence for each file that could not be read.
    notes : tuple of str
        How images and labels were understood, and what was left out.

    """

    model: Model
    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...]
    images: int
    passes: int
    budget: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[Finding, ...]:
        """The findings that were confirmed, and are faults: all but reliances and information on units."""
        return tuple(one for one in self.findings if one.fault)

    @property
    def clean(self) -> bool:
        """Whether no fault was confirmed."""
        return not self.confirmed

    def __repr__(self) -> str:
        done = sum(one.done for one in self.checked)
        head = f"Audit of {self.model.name} on {self.images:,} images: {done} of {len(self.checked)} checks ran, "
        faults = len(self.confirmed)
        head += f"{faults} fault{'s' * (faults != 1)} confirmed" if faults else "nothing confirmed"
        return "\n  ".join([head, *(one.sentence for one in self.findings[:SHOWN])])

    def to_json(self) -> dict[str, Any]:
        """Return findings, checked and clean, and how they were obtained."""
        return {
            "findings": [one.to_json() for one in self.findings],
            "checked": [one.to_json() for one in self.checked],
            "clean": self.clean,
            "model": self.model.name,
            "images": self.images,
            "passes": self.passes,
            "budget": self.budget,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the images that show each finding, (n, H, W, 3) uint8, by its number."""
        found = {f"finding {i}": one.proof.pixels for i, one in enumerate(self.findings) if one.proof is not None}
        return found or {"none": torch.zeros(0, dtype=torch.uint8)}


SHOWN = 8
