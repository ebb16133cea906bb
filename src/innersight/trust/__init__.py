"""Trust: how far heatmaps can be believed, against baselines and against the truth of drawn pictures."""

from innersight.trust.engine import Score, Trust, Versus, trust
from innersight.trust.parts import Agreement, part_agreement, part_effects, part_sums

__all__ = [
    "Agreement",
    "Score",
    "Trust",
    "Versus",
    "part_agreement",
    "part_effects",
    "part_sums",
    "trust",
]
