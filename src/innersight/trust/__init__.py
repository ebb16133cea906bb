"""Trust: how far heatmaps can be believed, against baselines, chance, and the truth of images made to test them."""

from innersight.trust.column import Column, about
from innersight.trust.engine import trust
from innersight.trust.randomize import cascade, shuffled_weights
from innersight.trust.regions import read_regions
from innersight.trust.result import Estimate, Row, Trust, Versus
from innersight.trust.truths.parts import Agreement, part_agreement, part_effects, part_sums

__all__ = [
    "Agreement",
    "Column",
    "Estimate",
    "Row",
    "Trust",
    "Versus",
    "about",
    "cascade",
    "part_agreement",
    "part_effects",
    "part_sums",
    "read_regions",
    "shuffled_weights",
    "trust",
]
