"""Ablation: the change of every class score when a unit is ablated."""

from innersight.ablation.engine import ablate
from innersight.ablation.result import DEFINITION, Ablation

__all__ = ["DEFINITION", "Ablation", "ablate"]
